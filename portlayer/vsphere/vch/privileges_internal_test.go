package vch

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheRoleScriptGivesWhatCheckAsksFor holds the list that administrators run against the one that is checked.
func TestTheRoleScriptGivesWhatCheckAsksFor(t *testing.T) {
	script, err := os.ReadFile("../../../examples/vsphere/role.sh")
	require.NoError(t, err)
	var given, needed []string
	for _, p := range regexp.MustCompile(`\b[A-Z]\w+(\.[A-Z]\w+)+\b`).FindAllString(string(script), -1) {
		if !regexp.MustCompile(`^System\.`).MatchString(p) { // every role has them
			given = append(given, p)
		}
	}
	for _, all := range privileges {
		needed = append(needed, all...)
	}
	slices.Sort(given)
	slices.Sort(needed)
	assert.Equal(t, needed, given)
}
