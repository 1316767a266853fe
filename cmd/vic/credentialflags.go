package main

import (
	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/operations/images/credentialprovider"
)

// credentialFlags name programs that have credentials for images; names are the kubelet's.
type credentialFlags struct{ config, binDir string }

func (f *credentialFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "image-credential-provider-config", "",
		"`FILE` or directory that says for which images which program has credentials, as a kubelet's (docs/registries.md)")
	cmd.Flags().StringVar(&f.binDir, "image-credential-provider-bin-dir", "", "`DIR` that these programs are in")
}

func (f *credentialFlags) validate() error {
	_, err := f.open()
	return err
}

// open returns nil where there are none.
func (f *credentialFlags) open() (images.NodeCredentials, error) {
	switch {
	case f.config == "" && f.binDir == "":
		return nil, nil //nolint:nilnil // nothing is configured
	case f.binDir == "":
		return nil, misused("--image-credential-provider-config needs --image-credential-provider-bin-dir")
	case f.config == "":
		return nil, misused("--image-credential-provider-bin-dir needs --image-credential-provider-config")
	}
	providers, err := credentialprovider.Open(f.config, f.binDir)
	if err != nil {
		return nil, misused("--image-credential-provider-config: %w", err)
	}
	return providers, nil
}
