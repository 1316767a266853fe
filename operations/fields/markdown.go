package fields

import (
	"fmt"
	"strings"
)

const intro = `# Fields of a pod

Made from the table in ` + "`operations/fields`" + ` by ` + "`go generate ./operations/fields`" + `; do not edit.

A pod that uses a refused field is not started: its containers wait with reason ` + "`" + Reason + "`" + `, and an event names each
such field. What the API server fills in by default and what admission injects counts as used, and is honoured. A field
that is not listed here is refused.
`

// Markdown returns docs/pod-fields.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(intro)
	for _, g := range table() {
		fmt.Fprintf(&b, "\n## %s (`%s`)\n\n| field | here | remark |\n| --- | --- | --- |\n",
			g.title, strings.Join(g.under, "`, `"))
		for _, r := range g.rows {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.path, r.verdict, r.remark())
		}
	}
	return b.String()
}

// remark is the note with what values and hosts change in it.
func (r row) remark() string {
	var all []string
	if r.note != "" {
		all = append(all, r.note)
	}
	fine := "`" + strings.Join(r.fine, "`, `") + "`"
	switch {
	case r.otherwise != "":
		all = append(all, "only "+fine+": "+r.otherwise)
	case len(r.fine) > 0:
		all = append(all, fine+" is fine")
	}
	if r.needs != nil {
		all = append(all, "refused on a host that can't: "+r.unless)
	}
	return strings.Join(all, "; ")
}
