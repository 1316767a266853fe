package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/virtual-kubelet/vic/guest/supervisor"
	"github.com/virtual-kubelet/vic/guest/wire"
)

// setSysctls sets kernel parameters below dir.
func setSysctls(dir string, sysctls []wire.Sysctl) error {
	for _, s := range sysctls {
		path := sysctlPath(s.Name)
		if !filepath.IsLocal(path) {
			return fmt.Errorf("sysctl %q is %w", s.Name, supervisor.ErrInvalid)
		}
		f, err := os.OpenFile(filepath.Join(dir, path), os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("set sysctl %s, which is %w: %w", s.Name, supervisor.ErrInvalid, err)
		}
		_, err = f.WriteString(s.Value)
		_ = f.Close() // the kernel has answered already
		if err != nil {
			return fmt.Errorf("set sysctl %s to %q, which is %w: %w", s.Name, s.Value, supervisor.ErrInvalid, err)
		}
	}
	return nil
}

// sysctlPath is where a parameter is below /proc/sys. Its name has dots between the parts, and slashes for dots in them,
// or the other way round: whichever comes first is between the parts (sysctl.d(5)).
func sysctlPath(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		return strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, name)
	}
	return name
}
