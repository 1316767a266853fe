//go:build e2e

package e2e_test

import (
	"flag"
	"maps"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

// onVSphere has every `vic up` run its pods on a simulated vCenter, whose VMs boot from an ISO on vSphere's hardware.
var onVSphere = flag.Bool("vsphere", false, "have the pods of vic up run on a simulated vCenter")

// ofQEMU are the tests that don't run with -vsphere, each with the reason.
var ofQEMU = map[string]string{}

// chooseHypervisor makes of -vsphere what it means for the tests that run, and says which do not.
func chooseHypervisor(t testContext) {
	flag.Parse()
	if !*onVSphere {
		return
	}
	names := slices.Sorted(maps.Keys(ofQEMU))
	for _, name := range names {
		t.Logf("not on vSphere: %s: %s", name, ofQEMU[name])
	}
	skip := "^(" + strings.Join(names, "|") + ")$"
	if others := flag.Lookup("test.skip").Value.String(); others != "" {
		skip += "|" + others
	}
	require.NoError(t, flag.Set("test.skip", skip))
}

// hypervisorArgs are those of `vic up`.
func hypervisorArgs() []string {
	if *onVSphere {
		return []string{"--vsphere-simulator"}
	}
	return nil
}
