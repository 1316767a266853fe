package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/durable"
	"github.com/virtual-kubelet/vic/node/statedir"
)

// keepPlace refuses to open a VCH at another place than its pods are at, as while it runs: a process that starts does not know
// what its file said before. The place is kept in the state of the node.
func keepPlace(state *statedir.Dir, e *config.Entry) error {
	was, err := readPlace(state)
	if err != nil {
		return err
	}
	if was != nil {
		pods, err := state.HasRuns()
		if err != nil {
			return err
		}
		if pods {
			if err := e.CheckChange(was); err != nil {
				return err
			}
		}
	}
	text, err := json.Marshal(e.Place())
	if err != nil {
		return fmt.Errorf("place of VCH %s: %w", e.Name, err)
	}
	if err := os.MkdirAll(state.Node(), 0o700); err != nil {
		return fmt.Errorf("keep place of VCH %s: %w", e.Name, err)
	}
	if err := durable.Write(state.Place(), text, 0o600); err != nil {
		return fmt.Errorf("keep place of VCH %s: %w", e.Name, err)
	}
	return nil
}

// readPlace returns what keepPlace has kept; nil where there is nothing, or what can't be read.
func readPlace(state *statedir.Dir) (config.Place, error) {
	text, err := os.ReadFile(state.Place())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing was kept
	}
	if err != nil {
		return nil, fmt.Errorf("read place of VCH: %w", err)
	}
	var place config.Place
	_ = json.Unmarshal(text, &place) // a damaged one keeps no node away
	return place, nil
}
