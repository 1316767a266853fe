package fields

import (
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
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

// TestNoFieldOfTheAPIIsNew holds the fields below those that the table honours as a whole to the ones that were looked at,
// since nothing else would see that a later API has more of them. A new one is honoured or gets a row that refuses it, and
// then stands in testdata/api-fields.txt.
func TestNoFieldOfTheAPIIsNew(t *testing.T) {
	known := map[string]bool{}
	collect(known, "spec", reflect.TypeFor[corev1.PodSpec](), index())
	want, err := os.ReadFile("testdata/api-fields.txt")
	require.NoError(t, err)
	require.Equal(t, strings.Fields(string(want)), slices.Sorted(maps.Keys(known)))
}

// collect adds the fields of typ, as Type.field, and of all that it consists of but for what is refused as a whole.
func collect(known map[string]bool, at string, typ reflect.Type, rows map[string]row) {
	for f := range typ.Fields() {
		name, inline := jsonName(f)
		path, field := at, f.Type
		if !inline {
			path += "." + name
			known[typ.Name()+"."+name] = true
		}
		r, listed := rows[path]
		if field.Kind() == reflect.Slice {
			path += "[]"
		}
		if field.Kind() == reflect.Pointer || field.Kind() == reflect.Slice {
			field = field.Elem()
		}
		asAWhole := listed && r.verdict == refused && r.but == nil
		if !asAWhole && field.Kind() == reflect.Struct && field.PkgPath() == typ.PkgPath() {
			collect(known, path, field, rows)
		}
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
