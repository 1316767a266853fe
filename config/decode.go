package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// movedKeys are keys that settings had under another name, and what to write instead.
var movedKeys = map[reflect.Type]map[string]string{
	reflect.TypeFor[Node](): {
		"nodeName": "vch.name", "address": "vch.address", "port": "vch.port", "subnet": "vch.subnet", "labels": "vch.labels",
		"reserved": "vch.reserved", "taints": "vch.taints", "taint": "vch.taints, with [] for none", "vsphere": "vch.vsphere",
		"cpu": "vch.limits.cpu", "memory": "vch.limits.memory", "pods": "vch.limits.pods",
		"ephemeralStorage": "vch.limits.ephemeral-storage",
		"controller":       "controller: true, and namespace beside it",
	},
	reflect.TypeFor[Entry](): {
		"cpu": "limits.cpu", "memory": "limits.memory", "pods": "limits.pods", "ephemeralStorage": "limits.ephemeral-storage",
		"taint": "taints, with [] for none",
	},
	reflect.TypeFor[VCH]():            {"hypervisor": "a section vsphere, which says it"},
	reflect.TypeFor[VSphere]():        {"vch": "name beside vsphere"},
	reflect.TypeFor[LeaderElection](): {"namespace": "namespace beside leaderElection"},
}

// decode fills to, a pointer, with what YAML has read. What a key does not say stays as it is. Everything that is wrong is added
// to p with its path: encoding/json would not say which quantity is none.
func decode(p problems, value, to any) { decodeValue(p, value, reflect.ValueOf(to).Elem()) }

func decodeValue(p problems, value any, to reflect.Value) {
	if value == nil {
		return // as if the key were not there
	}
	if _, leaf := reflect.TypeAssert[json.Unmarshaler](to.Addr()); leaf {
		decodeLeaf(p, value, to)
		return
	}
	switch to.Kind() {
	case reflect.Pointer:
		if to.IsNil() {
			to.Set(reflect.New(to.Type().Elem()))
		}
		decodeValue(p, value, to.Elem())
	case reflect.Struct:
		if keys, ok := value.(map[string]any); ok {
			decodeStruct(p, keys, to)
			return
		}
		p.add("", "want a map of keys")
	case reflect.Slice:
		decodeSlice(p, value, to)
	case reflect.Map:
		decodeMap(p, value, to)
	default:
		decodeLeaf(p, value, to)
	}
}

func decodeStruct(p problems, keys map[string]any, to reflect.Value) {
	fields := fieldsOf(to)
	moved := movedKeys[to.Type()]
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		at := p.below(key)
		hint := moved[key]
		field, known := fields[key]
		if !known {
			if hint != "" {
				at.add("", "unknown key: write %s", hint)
			} else {
				at.add("", "unknown key")
			}
			continue
		}
		before := len(*p.all)
		decodeValue(at, keys[key], field)
		if hint != "" && len(*p.all) > before {
			(*p.all)[before].Problem += "; write " + hint
		}
	}
}

// fieldsOf are the fields of a struct by their keys, those of embedded structs among them.
func fieldsOf(of reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range of.NumField() {
		f := of.Type().Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && key == "":
			maps.Copy(fields, fieldsOf(of.Field(i)))
		case f.IsExported() && key != "" && key != "-":
			fields[key] = of.Field(i)
		}
	}
	return fields
}

func decodeSlice(p problems, value any, to reflect.Value) {
	items, ok := value.([]any)
	if !ok {
		p.add("", "want a list")
		return
	}
	list := reflect.MakeSlice(to.Type(), len(items), len(items))
	for i, item := range items {
		decodeValue(p.below(fmt.Sprintf("[%d]", i)), item, list.Index(i))
	}
	to.Set(list)
}

func decodeMap(p problems, value any, to reflect.Value) {
	keys, ok := value.(map[string]any)
	if !ok {
		p.add("", "want a map of keys")
		return
	}
	filled := reflect.MakeMap(to.Type())
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		item := reflect.New(to.Type().Elem()).Elem()
		decodeValue(p.below(key), keys[key], item)
		filled.SetMapIndex(reflect.ValueOf(key).Convert(to.Type().Key()), item)
	}
	to.Set(filled)
}

// decodeLeaf leaves a value to encoding/json.
func decodeLeaf(p problems, value any, to reflect.Value) {
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, to.Addr().Interface())
	}
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		p.add("", "%s is not %s", text, kindName(to))
		return
	}
	if err != nil {
		p.add("", "%s: %v", text, err)
	}
}

// kindName is what users call a value of a kind.
func kindName(v reflect.Value) string {
	if v.Type() == reflect.TypeFor[metav1.Duration]() {
		return "a duration, such as 5m"
	}
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Int32, reflect.Int64:
		return "a whole number"
	default:
		return "a " + v.Type().String()
	}
}
