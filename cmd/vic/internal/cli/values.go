package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// A list of what a flag has been given is emptied by reset, so that what is given takes the place of what there was.
type resetter interface{ reset() }

// sizeValue is a quantity such as 512Mi.
type sizeValue struct{ to *resource.Quantity }

func (v sizeValue) String() string {
	if v.to == nil || v.to.IsZero() {
		return ""
	}
	return v.to.String()
}

func (v sizeValue) Type() string { return "size" }

func (v sizeValue) Set(s string) error {
	q, err := parseSize(s)
	if err == nil {
		*v.to = q
	}
	return err
}

func parseSize(s string) (resource.Quantity, error) {
	q, err := resource.ParseQuantity(s)
	if err != nil || q.Sign() <= 0 {
		return resource.Quantity{}, fmt.Errorf("%q is not a size above zero, such as 512Mi or 4Gi", s)
	}
	return q, nil
}

// Size is a flag of a size such as 512Mi; zero means not set.
type Size struct{ q resource.Quantity }

// Bytes is the size.
func (s *Size) Bytes() int64 { return s.q.Value() }

// String implements pflag.Value.
func (s *Size) String() string { return sizeValue{&s.q}.String() }

// Type implements pflag.Value.
func (s *Size) Type() string { return "size" }

// Set implements pflag.Value.
func (s *Size) Set(text string) error { return sizeValue{&s.q}.Set(text) }

// amountValue is one resource of a list: a size, or a number of which 0 is what there is.
type amountValue struct {
	of   *corev1.ResourceList
	name corev1.ResourceName
	size bool
}

func (v amountValue) String() string {
	if v.of == nil {
		return ""
	}
	q, ok := (*v.of)[v.name]
	switch {
	case ok:
		return q.String()
	case v.size:
		return ""
	}
	return "0"
}

func (v amountValue) Type() string {
	if v.size {
		return "size"
	}
	return "int"
}

func (v amountValue) Set(s string) error {
	q, err := resource.ParseQuantity(s)
	if v.size {
		q, err = parseSize(s)
	}
	if err != nil {
		return err
	}
	if q.IsZero() {
		delete(*v.of, v.name)
		return nil
	}
	if *v.of == nil {
		*v.of = corev1.ResourceList{}
	}
	(*v.of)[v.name] = q
	return nil
}

// resourcesValue is an amount of each of some resources, such as cpu=500m,memory=1Gi.
type resourcesValue struct{ of *corev1.ResourceList }

func (v resourcesValue) Type() string { return "resources" }

func (v resourcesValue) String() string {
	if v.of == nil {
		return ""
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(*v.of)) {
		q := (*v.of)[name]
		all = append(all, string(name)+"="+q.String())
	}
	return strings.Join(all, ",")
}

func (v resourcesValue) Set(s string) error {
	parsed := corev1.ResourceList{}
	for part := range strings.SplitSeq(s, ",") {
		name, text, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return fmt.Errorf("%q is not of the form RESOURCE=QUANTITY", part)
		}
		q, err := resource.ParseQuantity(text)
		if err != nil {
			return fmt.Errorf("%q is not a quantity, such as 500m or 1Gi: %w", part, err)
		}
		if _, twice := parsed[corev1.ResourceName(name)]; twice {
			return fmt.Errorf("%s is given twice", name)
		}
		parsed[corev1.ResourceName(name)] = q
	}
	*v.of = parsed
	return nil
}

// listValue is repeatable.
type listValue struct{ of *[]string }

func (v listValue) Type() string { return "stringArray" }

func (v listValue) String() string {
	if v.of == nil {
		return ""
	}
	return strings.Join(*v.of, ",")
}

func (v listValue) Set(s string) error {
	*v.of = append(*v.of, s)
	return nil
}

func (v listValue) reset() { *v.of = nil }

// pairsValue is a repeatable KEY=VALUE.
type pairsValue[T any] struct {
	of    *map[string]T
	form  string
	parse func(text string) (T, error)
}

func (v pairsValue[T]) Type() string { return "stringArray" }

func (v pairsValue[T]) String() string {
	if v.of == nil {
		return ""
	}
	return strings.Join(slices.Sorted(maps.Keys(*v.of)), ",")
}

func (v pairsValue[T]) Set(s string) error {
	key, text, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return errors.New("it is not of the form " + v.form)
	}
	value, err := v.parse(text)
	if err != nil {
		return err
	}
	if *v.of == nil {
		*v.of = map[string]T{}
	}
	(*v.of)[key] = value
	return nil
}

func (v pairsValue[T]) reset() { *v.of = nil }
