package fields

import (
	"encoding/json"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// verdict is what is done with a field.
type verdict int

const (
	honoured verdict = iota
	differs          // honoured with a difference, which the note names
	refused          // the note says why
	parts            // its own fields decide
)

func (v verdict) String() string {
	return [...]string{"honoured", "honoured with a difference", "refused", "see its fields"}[v]
}

// row is what the table says of one field.
type row struct {
	path    string
	verdict verdict
	note    string
	// but names values that are treated otherwise: it returns why one is refused, and "" for one that is fine. The value
	// is what a pointer points to.
	but func(v reflect.Value) string
	// fine are the values that but lets pass, as JSON, for people.
	fine []string
	// otherwise is why an honoured field's other values are refused.
	otherwise string
	// needs reports whether a host can honour it; unless is the reason why one that can't refuses it.
	needs  func(podvm.Capabilities) bool
	unless string
}

// group is a part of the table with a heading of its own.
type group struct {
	title string
	under []string // prefixes of the paths, each of which has all rows
	rows  []row
}

// containers are where containers of all kinds stand. What one kind can't have, such as ports of an ephemeral container,
// the API server refuses.
var containers = []string{"spec.containers[]", "spec.initContainers[]", "spec.ephemeralContainers[]"}

func table() []group {
	return []group{
		{"Pod", []string{"spec"}, podRows()},
		{"Security context of a pod", []string{"spec.securityContext"}, podSecurityRows()},
		{"Volumes", []string{"spec.volumes[]"}, volumeRows()},
		{"Containers", containers, containerRows()},
		{"Security context of a container", inEach(containers, ".securityContext"), securityRows()},
	}
}

func inEach(paths []string, field string) []string {
	all := make([]string, 0, len(paths))
	for _, p := range paths {
		all = append(all, p+field)
	}
	return all
}

// index is the table by full path.
func index() map[string]row {
	all := map[string]row{}
	for _, g := range table() {
		for _, under := range g.under {
			for _, r := range g.rows {
				r.path = under + "." + r.path
				all[r.path] = r
			}
		}
	}
	return all
}

func yes(path, note string) row { return row{path: path, verdict: honoured, note: note} }
func but(path, note string) row { return row{path: path, verdict: differs, note: note} }
func no(path, why string) row   { return row{path: path, verdict: refused, note: why} }
func within(path string) row    { return row{path: path, verdict: parts} }

// noBut refuses every value but those that ask for nothing beyond what is so anyway.
func noBut[T any](path, why string, fine ...T) row {
	r := no(path, why)
	for _, f := range fine {
		text, _ := json.Marshal(f) // values of the API's own types
		r.fine = append(r.fine, string(text))
	}
	r.but = func(v reflect.Value) string {
		if slices.ContainsFunc(fine, func(f T) bool { return reflect.DeepEqual(v.Interface(), f) }) {
			return ""
		}
		return why
	}
	return r
}

// only honours those values and refuses any other.
func only[T any](path, note, why string, fine ...T) row {
	r := noBut(path, why, fine...)
	r.verdict, r.note, r.otherwise = honoured, note, why
	return r
}

// onlyOf honours lists of those values and refuses any other.
func onlyOf[T any](path, note, why string, fine ...T) row {
	r := noBut(path, why, fine...)
	each := r.but
	r.verdict, r.note, r.otherwise = honoured, note, why
	r.but = func(v reflect.Value) string {
		for i := range v.Len() {
			if why := each(v.Index(i)); why != "" {
				return why
			}
		}
		return ""
	}
	return r
}

// atLeast honours quantities of least or more.
func atLeast(path, note, why string, least resource.Quantity) row {
	r := yes(path, note)
	r.but = func(v reflect.Value) string {
		q, ok := reflect.TypeAssert[resource.Quantity](v)
		if ok && q.Sign() > 0 && q.Cmp(least) < 0 {
			return why
		}
		return ""
	}
	return r
}
