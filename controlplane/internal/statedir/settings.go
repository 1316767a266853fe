package statedir

import (
	"errors"
	"os"
)

// Settings is what a control plane keeps from one start to the next.
type Settings struct {
	// APIPort is the port that was chosen when none was asked for; 0 means that none was chosen yet.
	APIPort int `json:"apiPort,omitempty"`
	// ServiceCIDR cannot change: the API server has stored it, and the Services have addresses of it.
	ServiceCIDR string `json:"serviceCIDR,omitempty"`
}

// Settings returns what was kept; in a new directory nothing is set.
func (d *Dir) Settings() (Settings, error) {
	var s Settings
	err := load(d.Path(settingsName), &s)
	if errors.Is(err, os.ErrNotExist) {
		return Settings{}, nil
	}
	return s, err
}

// SaveSettings keeps s.
func (d *Dir) SaveSettings(s Settings) error { return save(d.Path(settingsName), s) }
