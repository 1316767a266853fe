package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheImageRunsVicAsNobody(t *testing.T) {
	dir := t.TempDir()
	o := options{vic: filepath.Join(dir, "vic"), authorities: filepath.Join(dir, "ca.pem"), output: filepath.Join(dir, "image.tar"), name: "vic:test"}
	require.ErrorContains(t, write(o), o.authorities, "a missing file is named")
	require.NoError(t, os.WriteFile(o.vic, []byte("program"), 0o600))
	require.NoError(t, os.WriteFile(o.authorities, []byte("certificates"), 0o600))
	require.NoError(t, write(o))
	tag, err := name.NewTag("vic:test")
	require.NoError(t, err)
	img, err := tarball.ImageFromPath(o.output, &tag)
	require.NoError(t, err)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	assert.Equal(t, []string{"/vic"}, config.Config.Entrypoint)
	assert.Equal(t, "65532", config.Config.User, "the chart's securityContext is the same")
	require.Error(t, write(options{vic: o.vic}))
}
