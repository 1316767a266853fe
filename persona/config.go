package persona

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// stringBytes is what a string takes besides its bytes.
const stringBytes = 16

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
	if err := decode("configuration", raw, &config); err != nil {
		return nil, err
	}
	// Very old tools leave the platform out; it was Linux on the machine that they ran on.
	if config.OS != "" && config.OS != l.platform.OS || config.Architecture != "" && config.Architecture != l.platform.Architecture {
		return nil, &PlatformError{Want: l.want(), Found: []string{platformName(config.OS, config.Architecture)}}
	}
	if n := len(config.RootFS.DiffIDs); n != layers {
		return nil, fmt.Errorf("%w: %d layers, and the configuration has %d", ErrInvalidImage, layers, n)
	}
	if err := config.checkSize(); err != nil {
		return nil, err
	}
	return &config, config.checkStrings()
}

// checkSize bounds what is kept of a configuration. Labels run nothing, and are left out where they are many.
func (c *configFile) checkSize() error {
	run, labels := len(c.Config.User)+len(c.Config.WorkingDir)+len(c.Config.StopSignal), 0
	lists := [][]string{c.Config.Entrypoint, c.Config.Cmd, c.Config.Env}
	for _, set := range []map[string]struct{}{c.Config.ExposedPorts, c.Config.Volumes} {
		lists = append(lists, slices.Collect(maps.Keys(set)))
	}
	for _, list := range lists {
		for _, s := range list {
			run += len(s) + stringBytes
		}
	}
	if run > maxRunBytes {
		return fmt.Errorf("%w: what its configuration runs takes %d bytes, the most is %d", ErrTooLarge, run, maxRunBytes)
	}
	for key, value := range c.Config.Labels {
		labels += len(key) + len(value) + 2*stringBytes
	}
	if labels > maxLabelBytes {
		c.Config.Labels = nil
	}
	return nil
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
