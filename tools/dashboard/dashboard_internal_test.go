package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const metrics = `# TYPE up_total counter
up_total{step="create",result="ok"} 4
# TYPE took_seconds histogram
took_seconds_bucket{stage="boot",le="1"} 1
took_seconds_bucket{stage="boot",le="+Inf"} 2
took_seconds_sum{stage="boot"} 3
took_seconds_count{stage="boot"} 2
`

func TestCheckExpressions(t *testing.T) {
	tests := map[string]struct{ expr, says string }{
		"a rate by a label that is there":    {`sum by (step) (rate(up_total{result!="ok",instance=~"$instance"}[$__rate_interval]))`, ""},
		"a quantile of a histogram":          {`histogram_quantile(0.9, sum by (le, stage) (rate(took_seconds_bucket[5m])))`, ""},
		"an average of a histogram":          {`rate(took_seconds_sum[5m]) / on (stage) rate(took_seconds_count[5m])`, ""},
		"no expression":                      {``, "no expression"},
		"what is not PromQL":                 {`sum by (rate(up_total[5m])`, "parse error"},
		"a function that there is not":       {`speed(up_total)`, "unknown function"},
		"a metric that is not shown":         {`rate(down_total[5m])`, `no metric "down_total"`},
		"a histogram without its parts":      {`took_seconds`, `no metric "took_seconds"`},
		"a selector by a label that is not":  {`up_total{pod="a"}`, "up_total has no label pod"},
		"a grouping by a label that is not":  {`sum by (pod) (up_total)`, "has the label pod"},
		"a match on a label that is not":     {`up_total / on (pod) up_total`, "has the label pod"},
		"a metric of any name, by a matcher": {`{__name__=~"up.*"}`, "no metric"},
	}
	s, err := readMetrics(strings.NewReader(metrics))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := s.check(tt.expr)
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

func TestReadDashboard(t *testing.T) {
	const head = `{"title": "t", "uid": "u", "schemaVersion": 39, "panels": `
	const one = `{"id": 1, "title": "a", "type": "stat", "gridPos": {"h": 1, "w": 1, "x": 0, "y": 0}, "targets": [{"expr": "1"}]}`
	tests := map[string]struct{ text, says string }{
		"no JSON":                    {`{`, "unexpected end"},
		"no dashboard":               {`{}`, "schemaVersion is missing"},
		"no panels":                  {head + `[]}`, "no panels"},
		"a panel without a question": {head + strings.Replace(`[`+one+`]}`, `{"expr": "1"}`, ``, 1), "asks for nothing"},
		"two panels of one ID":       {head + `[` + one + `,` + one + `]}`, "ID of another"},
		"two panels in one place":    {head + `[` + one + `,` + strings.Replace(one, `"id": 1`, `"id": 2`, 1) + `]}`, "lies over"},
		"a panel beside the grid":    {head + strings.Replace(`[`+one+`]}`, `"x": 0`, `"x": 24`, 1), "not on the grid"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := readDashboard([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

func TestExampleIsADashboard(t *testing.T) {
	path := filepath.Join("..", "..", "examples", "grafana", "vic.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	panels, err := readDashboard(text)
	if err != nil || len(panels) < 10 {
		t.Fatal(len(panels), err)
	}
	err = run([]string{path}, strings.NewReader(metrics))
	if err == nil || !strings.Contains(err.Error(), "the node shows no metric") || strings.Contains(err.Error(), "parse error") {
		t.Errorf("it is PromQL, and of metrics that are not these; got %v", err)
	}
}
