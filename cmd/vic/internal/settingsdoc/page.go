package settingsdoc

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/root"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/vchcmd"
)

const preface = `# Settings

Every flag, key and environment variable, with its default. This page is generated from the program (` + "`make generate`" + `).

A flag wins over the environment, the environment over a file, and a file over the default. Every flag has a variable: ` +
	"`--api-port` is `" + root.EnvPrefix + "API_PORT`" + `. A flag or variable that may be repeated takes the place of the whole list of a file.
`

// Page returns the page. The comments of keys are read from the source of package config in that directory.
func Page(configDir string) (string, error) {
	var b strings.Builder
	b.WriteString(preface)
	vic := root.NewCommand()
	b.WriteString("\n## Flags\n")
	writeFlags(&b, "Every command", vic.PersistentFlags(), false)
	writeCommands(&b, vic)
	b.WriteString("\n## Other variables\n\n| variable | meaning |\n| --- | --- |\n")
	for _, v := range variables() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", v.name, v.meaning)
	}
	if err := writeKeys(&b, configDir); err != nil {
		return "", err
	}
	return b.String(), nil
}

type variable struct{ name, meaning string }

// variables are those that set no flag.
func variables() []variable {
	all := []variable{
		{"XDG_STATE_HOME", "the state directory of `vic up` is `vic` in it by default"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_…", "OpenTelemetry's own ([observability.md](observability.md))"},
	}
	for _, v := range vchcmd.Variables() {
		all = append(all, variable{v.Name, "of `vic vch`, where the file leaves out `vsphere." + v.Key + "`"})
	}
	return all
}

func writeCommands(b *strings.Builder, cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		if sub.Hidden || sub.Name() == "help" || sub.Name() == "completion" {
			continue
		}
		if sub.LocalNonPersistentFlags().HasAvailableFlags() {
			flags := sub.LocalNonPersistentFlags()
			writeFlags(b, "`"+sub.CommandPath()+"`", flags, flags.Lookup("config") != nil)
		}
		writeCommands(b, sub)
	}
}

// writeFlags writes a table of flags. Where a command has a file, the flags name the keys that they win over.
func writeFlags(b *strings.Builder, title string, flags *pflag.FlagSet, file bool) {
	keys, line := "", ""
	if file && hasKeys(flags) {
		keys, line = " key of the file |", " --- |"
	}
	fmt.Fprintf(b, "\n### %s\n\n| flag | default |%s meaning |\n| --- | --- |%s --- |\n", title, keys, line)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name, usage := pflag.UnquoteUsage(f)
		if strings.HasPrefix(name, "int") {
			name = "N"
		}
		flag := "--" + f.Name
		if f.Shorthand != "" {
			flag = "-" + f.Shorthand + ", " + flag
		}
		if f.Value.Type() != "bool" && name != "" {
			flag += " " + strings.ToUpper(name)
		}
		key := ""
		if keys != "" {
			key = " " + code(cli.KeyOf(f)) + " |"
		}
		fmt.Fprintf(b, "| `%s` | %s |%s %s |\n", escape(flag), code(defaultOf(f)), key, escape(usage))
	})
}

func hasKeys(flags *pflag.FlagSet) bool {
	found := false
	flags.VisitAll(func(f *pflag.Flag) { found = found || cli.KeyOf(f) != "" })
	return found
}

// defaultOf is a default as users would write it; empty where it is nothing, or depends on who asks.
func defaultOf(f *pflag.Flag) string {
	switch text := f.DefValue; {
	case f.Name == "dir" && text == cli.DefaultDir():
		return "$XDG_STATE_HOME/vic, else ~/.local/state/vic"
	case text == "false", text == "[]":
		return ""
	default:
		return short(text)
	}
}

// short is a duration as people write it, and another text as it is.
func short(s string) string {
	if minutes, whole := strings.CutSuffix(s, "m0s"); whole {
		return minutes + "m"
	}
	return s
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + escape(s) + "`"
}

// escape keeps a text within its cell.
func escape(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "|", `\|`), "\n", " ")
}
