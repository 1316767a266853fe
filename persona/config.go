package persona

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// configFile is what is used of an image's configuration. Its history, which could be long, is not even decoded.
type configFile struct {
	OS           string    `json:"os"`
	Architecture string    `json:"architecture"`
	Created      v1.Time   `json:"created"`
	Config       v1.Config `json:"config"`
	RootFS       struct {
		DiffIDs []v1.Hash `json:"diff_ids"`
	} `json:"rootfs"`
}

// parseConfig reads a configuration and checks it against the platform and the number of layers.
func (l *loader) parseConfig(raw []byte, layers int) (*configFile, error) {
	var config configFile
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("%w: configuration: %w", ErrInvalidImage, err)
	}
	// Very old tools leave the platform out; it was Linux on the machine that they ran on.
	if config.OS != "" && config.OS != l.platform.OS || config.Architecture != "" && config.Architecture != l.platform.Architecture {
		return nil, &PlatformError{Want: l.want(), Found: []string{platformName(config.OS, config.Architecture)}}
	}
	if n := len(config.RootFS.DiffIDs); n != layers {
		return nil, fmt.Errorf("%w: %d layers, and the configuration has %d", ErrInvalidImage, layers, n)
	}
	return &config, config.checkStrings()
}

// checkStrings refuses what no process can be started with.
func (c *configFile) checkStrings() error {
	fields := map[string][]string{
		"Entrypoint": c.Config.Entrypoint, "Cmd": c.Config.Cmd, "Env": c.Config.Env,
		"WorkingDir": {c.Config.WorkingDir}, "User": {c.Config.User}, "StopSignal": {c.Config.StopSignal},
	}
	for field, values := range fields {
		if slices.ContainsFunc(values, func(v string) bool { return strings.IndexByte(v, 0) >= 0 }) {
			return fmt.Errorf("%w: configuration: zero byte in %s", ErrInvalidImage, field)
		}
	}
	return nil
}
