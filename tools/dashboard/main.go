package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdin); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "dashboard:", err) // there is nowhere else to say it
		os.Exit(1)
	}
}

// run checks the dashboard that args name against the metrics that are read from in, in Prometheus' text format.
func run(args []string, in io.Reader) error {
	if len(args) != 1 {
		return errors.New("one argument is needed, the dashboard's file; metrics are read from standard input")
	}
	text, err := os.ReadFile(args[0]) //nolint:gosec // the file that whoever runs it names
	if err != nil {
		return err
	}
	panels, err := readDashboard(text)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	shown, err := readMetrics(in)
	if err != nil {
		return fmt.Errorf("read metrics: %w", err)
	}
	var all []error
	for _, p := range panels {
		for _, expr := range p.exprs {
			if err := shown.check(expr); err != nil {
				all = append(all, fmt.Errorf("panel %q: %s: %w", p.title, expr, err))
			}
		}
	}
	return errors.Join(all...)
}
