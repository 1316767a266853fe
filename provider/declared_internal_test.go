package provider

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/component-helpers/nodedeclaredfeatures/features"

	"github.com/virtual-kubelet/vic/portlayer"
)

// undeclared are the features that a kubelet may declare and a node of ours does not, with the reason.
var undeclared = map[string]string{
	"ExtendWebSocketsToKubelet":                    "the kubelet API streams over SPDY; the API server translates",
	"RestartAllContainersOnContainerExits":         "restartPolicyRules with that action are refused",
	"InPlacePodLevelResourcesVerticalScaling":      "a running pod can't be resized",
	"InPlacePodVerticalScalingInitContainers":      "a running pod can't be resized",
	"InPlacePodVerticalScalingMemoryBackedVolumes": "a running pod can't be resized",
	"UserNamespacesHostNetworkSupport":             "hostNetwork is refused",
	"DRANodeAllocatableResources":                  "resourceClaims are refused",
	"DRAOptionalNodeOperations":                    "resourceClaims are refused",
}

func TestTheNodeDeclaresWhatItsPodsMayUse(t *testing.T) {
	n := nodeObject("v", &Description{}, 1, observation{portlayer.Capacity{}, health{}, time.Now()})
	require.True(t, slices.IsSorted(n.Status.DeclaredFeatures), "the API server refuses others")
	var known []string
	for _, f := range features.AllFeatures {
		known = append(known, f.Name())
		assert.NotEqual(t, slices.Contains(n.Status.DeclaredFeatures, f.Name()), undeclared[f.Name()] != "", f.Name())
	}
	assert.Subset(t, known, n.Status.DeclaredFeatures)
}
