package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "draw:", err) // there is nowhere else to report it
		os.Exit(1)
	}
}

// run draws the picture whose source and SVG the arguments name.
func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: draw SOURCE SVG")
	}
	source, err := os.ReadFile(args[0]) //nolint:gosec // go generate names it
	if err != nil {
		return err
	}
	p, err := parse(string(source))
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return os.WriteFile(args[1], p.svg(), 0o644) //nolint:gosec // a picture is for everyone
}
