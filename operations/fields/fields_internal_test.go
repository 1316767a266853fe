package fields

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

func TestEveryRowNamesAField(t *testing.T) {
	known := map[string]bool{}
	paths(known, "spec", reflect.TypeFor[corev1.PodSpec](), index())
	for path := range index() {
		require.True(t, known[path], path)
	}
	for path := range known {
		require.Contains(t, index(), path)
	}
}

// paths collects the row paths of typ's fields, as deep as the table goes.
func paths(known map[string]bool, at string, typ reflect.Type, rows map[string]row) {
	for f := range typ.Fields() {
		name, inline := jsonName(f)
		if inline {
			paths(known, at, f.Type, rows)
			continue
		}
		path, field := at+"."+name, f.Type
		known[path] = true
		if field.Kind() == reflect.Pointer {
			field = field.Elem()
		}
		if rows[path].verdict != parts {
			continue
		}
		switch field.Kind() {
		case reflect.Struct:
			paths(known, path, field, rows)
		case reflect.Slice:
			paths(known, path+"[]", field.Elem(), rows)
		case reflect.Map:
			for _, key := range []string{"cpu", "memory", "ephemeral-storage", "*"} {
				known[path+"["+key+"]"] = true
			}
		default:
			panic("a part of the table has no fields: " + path)
		}
	}
}
