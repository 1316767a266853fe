package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/controlplane/internal/statedir"
)

// status is the answer of the command status, in JSON.
type status struct {
	Running bool `json:"running"`
	*statedir.Record
}

func newStatusCommand(dir *string) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status --dir DIR",
		Short: "Show whether a control plane runs in the directory, and which",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return misuse("output", "%q is neither text nor json", output)
			}
			s, err := findStatus(*dir)
			if err != nil {
				return err
			}
			return s.print(cmd.OutOrStdout(), output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "`format`: text or json")
	return cmd
}

func findStatus(dir string) (status, error) {
	record, err := statedir.Find(dir)
	if errors.Is(err, statedir.ErrNotRunning) {
		return status{}, nil
	}
	if err != nil {
		return status{}, err
	}
	return status{Running: true, Record: &record}, nil
}

func (s status) print(w io.Writer, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(s)
	}
	if !s.Running {
		_, err := fmt.Fprintln(w, "not running")
		return err
	}
	_, err := fmt.Fprintf(w, "%s, process %d, %s\n", s.State, s.PID, s.Endpoint)
	return err
}
