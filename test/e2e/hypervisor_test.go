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

// ofQEMU are the tests that don't run with -vsphere, by name with that of a subtest behind it, each with the reason.
var ofQEMU = map[string]string{
	"TestAPodVMIsLookedInto":             "vic podvm inspect, console and rm are for what QEMU keeps in the state directory",
	"TestAFullDiskIsOutlived":            "that a VM pauses when its disk is full is QEMU's doing",
	"TestFaults/a_guest's_kernel_panics": "QEMU reports a panic; vSphere sees a guest that reboots, as in TestPodsOnVSphere",
	"TestNodeJoinsACluster":              "it is docs/node.md by hand, with QEMU; TestPodsOnVSphere is the same on vSphere",
	"TestNodeRefusesAContainer":          "VMs on vSphere don't end with the node's container",
	"TestNodeReportsItsHealth":           "it takes QEMU and the disk of its VMs from the node",
	"TestPodVMsOutliveTheService":        "systemd's units are for VMs that are processes of the node",
	"TestWithoutRoot":                    "guests dial in from addresses of their own, which takes root",
}

// chooseHypervisor makes of -vsphere what it means for the tests that run, and says which do not.
func chooseHypervisor(t testContext) {
	flag.Parse()
	if !*onVSphere {
		return
	}
	var skip []string
	for _, name := range slices.Sorted(maps.Keys(ofQEMU)) {
		t.Logf("not on vSphere: %s: %s", name, ofQEMU[name])
		skip = append(skip, "^"+strings.ReplaceAll(name, "/", "$/^")+"$")
	}
	if others := flag.Lookup("test.skip").Value.String(); others != "" {
		skip = append(skip, others)
	}
	require.NoError(t, flag.Set("test.skip", strings.Join(skip, "|")))
}

// hypervisorArgs are those of `vic up`.
func hypervisorArgs() []string {
	if *onVSphere {
		return []string{"--vsphere-simulator"}
	}
	return nil
}
