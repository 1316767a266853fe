// Command gen writes the table of pod fields, as Markdown, to the file that its argument names.
package main

import (
	"fmt"
	"os"

	"github.com/virtual-kubelet/vic/operations/fields"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen FILE")
		os.Exit(2)
	}
	if err := os.WriteFile(os.Args[1], []byte(fields.Markdown()), 0o644); err != nil { //nolint:gosec // documentation, for all to read
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
