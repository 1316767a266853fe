// Command gen writes docs/settings.md to the file that it is given.
package main

import (
	"fmt"
	"os"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/settingsdoc"
)

func main() {
	page, err := settingsdoc.Page("../../../../config")
	if err == nil {
		err = os.WriteFile(os.Args[1], []byte(page), 0o644) //nolint:gosec // a document
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
