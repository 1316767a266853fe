package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
)

func TestImagesAreCollectedAsTheFlagsSay(t *testing.T) {
	parse := func(args ...string) (imageGCFlags, error) {
		var f imageGCFlags
		cmd := &cobra.Command{}
		f.add(cmd)
		require.NoError(t, cmd.ParseFlags(args))
		return f, f.validate()
	}
	f, err := parse()
	require.NoError(t, err)
	require.Equal(t, imageGCFlags{high: 85, low: 80, minAge: 2 * time.Minute, period: 5 * time.Minute}, f)
	f, err = parse("--image-gc-high-threshold=9", "--image-gc-low-threshold=7", "--minimum-image-ttl-duration=0", "--image-gc-period=1s")
	require.NoError(t, err)
	require.Equal(t, imageGCFlags{high: 9, low: 7, period: time.Second}, f)
	for _, bad := range []string{
		"--image-gc-high-threshold=101", "--image-gc-high-threshold=80", "--image-gc-low-threshold=-1",
		"--minimum-image-ttl-duration=-1s", "--image-gc-period=0",
	} {
		_, err := parse(bad)
		require.Error(t, err, bad)
	}
}

func TestNodeFileSaysWhenImagesAreCollected(t *testing.T) {
	file := filepath.Join(t.TempDir(), "node.yaml")
	read := func(text string) (imageGCFlags, error) {
		require.NoError(t, os.WriteFile(file, []byte("nodeName: a\n"+text), 0o600))
		f, err := readNodeFile(file)
		if err != nil {
			return imageGCFlags{}, err
		}
		flags, err := f.flags(&f.vchFile)
		return flags.imageGC, err
	}
	f, err := read("")
	require.NoError(t, err)
	require.Equal(t, defaultImageGC(), f)
	f, err = read("imageGCHighThresholdPercent: 70\nimageGCLowThresholdPercent: 60\nimageMinimumGCAge: 1h\nimageGCPeriod: 1m\n")
	require.NoError(t, err)
	require.Equal(t, imageGCFlags{high: 70, low: 60, minAge: time.Hour, period: time.Minute}, f)
	_, err = read("imageGCHighThresholdPercent: 70\n")
	require.ErrorContains(t, err, "not below")
}

func TestNameOfSeveralMayGoWhileTheImageIsInUse(t *testing.T) {
	img := persona.Image{Names: []string{"hello:1", "hello:2"}, ID: "sha256:0123"}
	require.True(t, hasAnotherName(img, "docker.io/library/hello:1"))
	require.False(t, hasAnotherName(img, "sha256:0123"))
	img.Names = img.Names[:1]
	require.False(t, hasAnotherName(img, "hello:1"))
}

func TestUsersAreNamed(t *testing.T) {
	users := []portlayer.Owner{{Namespace: "n", Name: "a"}, {Namespace: "n", Name: "b"}, {Namespace: "n", Name: "c"}}
	require.Equal(t, "pod n/a", describeUsers(users[:1]))
	require.Equal(t, "pod n/a and another", describeUsers(users[:2]))
	require.Equal(t, "pod n/a and 2 others", describeUsers(users))
}
