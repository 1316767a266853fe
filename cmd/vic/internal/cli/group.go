package cli

import "github.com/spf13/cobra"

// NewGroup makes a command that only holds others.
func NewGroup(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, RunE: HelpOnly}
	cmd.AddCommand(subs...)
	return cmd
}

// HelpOnly runs a command that only holds others.
func HelpOnly(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return Misused("unknown command %q for %q", args[0], cmd.CommandPath())
	}
	return cmd.Help()
}
