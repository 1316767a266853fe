package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// scraped are the labels that Prometheus gives to what it scrapes.
var scraped = []string{"instance", "job"}

// grafana are variables of Grafana's that stand in the place of a duration.
var grafana = strings.NewReplacer("$__rate_interval", "5m", "$__interval", "1m", "$__range", "1h")

// shown are the labels of each series' name.
type shown map[string]map[string]bool

// readMetrics reads what a node shows.
func readMetrics(in io.Reader) (shown, error) {
	text := expfmt.NewTextParser(model.UTF8Validation)
	families, err := text.TextToMetricFamilies(in)
	if err != nil {
		return nil, err
	}
	s := shown{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			switch family.GetType() {
			case dto.MetricType_HISTOGRAM:
				s.add(name+"_bucket", m, model.BucketLabel)
				s.add(name+"_sum", m)
				s.add(name+"_count", m)
			case dto.MetricType_SUMMARY:
				s.add(name, m, model.QuantileLabel)
				s.add(name+"_sum", m)
				s.add(name+"_count", m)
			default:
				s.add(name, m)
			}
		}
	}
	return s, nil
}

func (s shown) add(name string, m *dto.Metric, more ...string) {
	if s[name] == nil {
		s[name] = map[string]bool{}
	}
	for _, l := range m.GetLabel() {
		s[name][l.GetName()] = true
	}
	for _, l := range more {
		s[name][l] = true
	}
}

// check parses expr and looks for all that it names.
func (s shown) check(expr string) error {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(grafana.Replace(expr))
	if err != nil {
		return err
	}
	var all []error
	has := map[string]bool{} // labels of any series in the expression
	for _, name := range scraped {
		has[name] = true
	}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			if err := s.selector(v.LabelMatchers); err != nil {
				all = append(all, err)
			}
			for name := range s[nameOf(v.LabelMatchers)] {
				has[name] = true
			}
		}
		return nil
	})
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		for _, name := range named(node) {
			if !has[name] {
				all = append(all, fmt.Errorf("no series in it has the label %s", name))
			}
		}
		return nil
	})
	return errors.Join(all...)
}

// selector looks for the series of a selector and the labels in it.
func (s shown) selector(matchers []*labels.Matcher) error {
	name := nameOf(matchers)
	there, ok := s[name]
	if !ok {
		return fmt.Errorf("the node shows no metric %q", name)
	}
	for _, m := range matchers {
		if m.Name != model.MetricNameLabel && !there[m.Name] && !slices.Contains(scraped, m.Name) {
			return fmt.Errorf("metric %s has no label %s", name, m.Name)
		}
	}
	return nil
}

func nameOf(matchers []*labels.Matcher) string {
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

// named are the labels that an aggregation or a match between two sides names.
func named(node parser.Node) []string {
	switch n := node.(type) {
	case *parser.AggregateExpr:
		return n.Grouping
	case *parser.BinaryExpr:
		if n.VectorMatching != nil {
			return n.VectorMatching.MatchingLabels
		}
	}
	return nil
}
