package fields

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// place is where a value stands: its path in the pod and its row's in the table, where indexes are left out.
type place struct{ path, row string }

func (p place) field(name string) place { return place{p.path + "." + name, p.row + "." + name} }

// element is an item of a list or, where it is known to the table by its key, of a map.
func (p place) element(path, row string) place {
	return place{p.path + "[" + path + "]", p.row + "[" + row + "]"}
}

// walker follows a pod along the table.
type walker struct {
	rows     map[string]row
	caps     podvm.Capabilities
	refusals []Refusal
}

func (w *walker) refuse(at place, why string) {
	w.refusals = append(w.refusals, Refusal{Field: at.path, Why: why})
}

// parts visits the fields of a struct that are set.
func (w *walker) parts(at place, v reflect.Value) {
	for i := range v.NumField() {
		name, inline := jsonName(v.Type().Field(i))
		switch {
		case v.Field(i).IsZero():
		case inline:
			w.parts(at, v.Field(i))
		default:
			w.value(at.field(name), v.Field(i))
		}
	}
}

// value judges a value that is set.
func (w *walker) value(at place, v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		if v.Len() == 0 {
			return
		}
	case reflect.Pointer:
		v = v.Elem()
	default:
	}
	r, ok := w.rows[at.row]
	if !ok {
		w.refuse(at, "this version does not know the field")
		return
	}
	if r.needs != nil && !r.needs(w.caps) {
		w.refuse(at, r.unless)
		return
	}
	if r.but != nil {
		if why := r.but(v); why != "" {
			w.refuse(at, why)
		}
	} else if r.verdict == refused {
		w.refuse(at, r.note)
	}
	if r.verdict == parts {
		w.inside(at, v)
	}
}

// inside visits what a value consists of.
func (w *walker) inside(at place, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		w.parts(at, v)
	case reflect.Slice:
		for i := range v.Len() {
			w.parts(at.element(strconv.Itoa(i), ""), v.Index(i))
		}
	case reflect.Map:
		w.keys(at, v)
	default:
	}
}

// keys visits a map by its keys, sorted.
func (w *walker) keys(at place, v reflect.Value) {
	values := map[string]reflect.Value{}
	for _, k := range v.MapKeys() {
		values[k.String()] = v.MapIndex(k)
	}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		next := at.element(k, k)
		if _, known := w.rows[next.row]; !known {
			next.row = at.row + "[*]"
		}
		w.value(next, values[k])
	}
}

// jsonName is a field's name in the API; inline is true where its own fields stand in its place, as of an embedded struct
// without a name.
func jsonName(f reflect.StructField) (name string, inline bool) {
	name, _, _ = strings.Cut(f.Tag.Get("json"), ",")
	return name, name == "" && f.Anonymous
}
