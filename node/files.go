package node

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/tracing"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/operations/images/credentialprovider"
	"github.com/virtual-kubelet/vic/persona"
)

// CheckFiles returns what is wrong with settings that have been checked by themselves: with the files that they name, and with what
// only the users of a setting know. It touches nothing. Errors are config.Errors.
func CheckFiles(settings *config.Node) error {
	if _, err := ImageStore(settings); err != nil {
		return err
	}
	if _, err := ImageCredentials(settings); err != nil {
		return err
	}
	if err := tracing.Validate(settings.TracingEndpoint); err != nil {
		return config.Wrong("tracingEndpoint", err)
	}
	return nil
}

// ImageStore is the configuration of an image store, but for its directory.
func ImageStore(settings *config.Node) (persona.Config, error) {
	cfg := persona.Config{
		InsecureRegistries: settings.InsecureRegistries, Mirrors: settings.RegistryMirrors, RegistryHostsDir: settings.RegistryHostsDir,
	}
	if dir := settings.RegistryHostsDir; dir != "" {
		info, err := os.Stat(dir)
		if err != nil {
			return persona.Config{}, config.Wrong("registryHostsDir", err)
		}
		if !info.IsDir() {
			return persona.Config{}, config.Wrong("registryHostsDir", fmt.Errorf("%s is not a directory", dir))
		}
	}
	for name, q := range settings.ImageLimits {
		if err := cfg.Limits.Set(name, q.Value()); err != nil {
			return persona.Config{}, config.Wrong("imageLimits."+name, err)
		}
	}
	return cfg, nil
}

// ImageCredentials opens the programs that have credentials for images; nil where there are none.
func ImageCredentials(settings *config.Node) (images.NodeCredentials, error) {
	if settings.ImageCredentialProviderConfig == "" {
		return nil, nil //nolint:nilnil // nothing is configured
	}
	providers, err := credentialprovider.Open(settings.ImageCredentialProviderConfig, settings.ImageCredentialProviderBinDir)
	if err != nil {
		return nil, config.Wrong("imageCredentialProviderConfig", err)
	}
	return providers, nil
}

// GuestImageDir is the directory of what pod VMs boot.
func GuestImageDir(settings *config.Node) (string, error) {
	if settings.GuestImage != "" {
		return settings.GuestImage, nil
	}
	return BesideProgram("guest")
}

// BesideProgram returns the path of a file that the build leaves beside this program.
func BesideProgram(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find %s beside this program: %w", name, err)
	}
	return filepath.Join(filepath.Dir(self), name), nil
}
