package cli

import (
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Forms of results.
const (
	OutputTable = "table"
	OutputText  = "text"
	OutputJSON  = "json"
	OutputYAML  = "yaml"
)

// AddOutputFlag lets users choose between a table and JSON.
func AddOutputFlag(cmd *cobra.Command, output *string) {
	AddFormFlag(cmd, output, OutputTable, OutputJSON)
}

// AddFormFlag lets users choose one of several forms of the result; the first is the default.
func AddFormFlag(cmd *cobra.Command, output *string, forms ...string) {
	all := strings.Join(forms, ", ")
	cmd.Flags().StringVarP(output, "output", "o", forms[0], "form of the result: "+all)
	pre := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(forms, *output) {
			return Misused("--output %q is not one of %s", *output, all)
		}
		if pre != nil {
			return pre(cmd, args)
		}
		return nil
	}
}

// PrintJSON writes v for scripts.
func PrintJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
