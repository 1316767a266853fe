package settingsdoc

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"reflect"
	"strings"

	"github.com/virtual-kubelet/vic/config"
)

// sections are the structs of a file, in the order of the page.
var sections = []struct {
	title, text string
	of          reflect.Type
	defaults    any
}{
	{"The file of `vic node`", "What holds for the process, and what it serves. [node.md](node.md) has examples.", reflect.TypeFor[config.Node](), config.DefaultNode()},
	{"`leaderElection`", "", reflect.TypeFor[config.LeaderElection](), nil},
	{
		"`vch`, an entry of `vchs`, and `spec` of a VirtualContainerHost",
		"One virtual container host with its node. An object has its name as `metadata.name`; all other keys are the same.",
		reflect.TypeFor[config.Entry](), nil,
	},
	{"`vsphere`", "[vsphere.md](vsphere.md) has examples.", reflect.TypeFor[config.VSphere](), nil},
	{"`vsphere.tags`", "", reflect.TypeFor[config.Tags](), nil},
}

func writeKeys(b *strings.Builder, configDir string) error {
	comments, err := readComments(configDir)
	if err != nil {
		return err
	}
	b.WriteString("\n## Keys\n")
	for _, s := range sections {
		fmt.Fprintf(b, "\n### %s\n\n", s.title)
		if s.text != "" {
			b.WriteString(s.text + "\n\n")
		}
		b.WriteString("| key | default | meaning |\n| --- | --- | --- |\n")
		defaults, err := defaultsOf(s.defaults)
		if err != nil {
			return err
		}
		if err := writeStruct(b, s.of, comments, defaults); err != nil {
			return err
		}
	}
	return nil
}

// defaultsOf are the defaults that a struct has by itself, by key.
func defaultsOf(of any) (map[string]any, error) {
	text, err := json.Marshal(of)
	if err != nil {
		return nil, err
	}
	var defaults map[string]any
	return defaults, json.Unmarshal(text, &defaults)
}

func writeStruct(b *strings.Builder, of reflect.Type, comments map[string]string, defaults map[string]any) error {
	for f := range of.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			if err := writeStruct(b, f.Type, comments, defaults); err != nil {
				return err
			}
			continue
		case !f.IsExported():
			continue
		}
		comment, ok := comments[of.Name()+"."+f.Name]
		if !ok {
			return fmt.Errorf("%s.%s has no comment", of.Name(), f.Name)
		}
		meaning := strings.Replace(comment, f.Name, "`"+key+"`", 1)
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", key, code(text(defaults[key])), escape(meaning))
	}
	return nil
}

// text is a value as YAML has it; nothing for what is off or empty.
func text(v any) string {
	if v == nil {
		return ""
	}
	return short(fmt.Sprint(v))
}

// readComments are those of the fields of a package, by struct and field, without markers.
func readComments(dir string) (map[string]string, error) {
	tests := func(info fs.FileInfo) bool { return !strings.HasSuffix(info.Name(), "_test.go") }
	packages, err := parser.ParseDir(token.NewFileSet(), dir, tests, parser.ParseComments) //nolint:staticcheck // no build tags are there
	if err != nil {
		return nil, err
	}
	comments := map[string]string{}
	for _, p := range packages {
		ast.Inspect(p, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					for _, name := range f.Names {
						comments[spec.Name.Name+"."+name.Name] = plain(f.Doc.Text())
					}
				}
			}
			return true
		})
	}
	return comments, nil
}

// plain is a comment without the markers of generators, on one line.
func plain(comment string) string {
	var words []string
	for line := range strings.Lines(comment) {
		if !strings.HasPrefix(line, "+") {
			words = append(words, strings.Fields(line)...)
		}
	}
	return strings.Join(words, " ")
}
