package statedir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/virtual-kubelet/vic/internal/durable"
	"github.com/virtual-kubelet/vic/internal/filelock"
)

// ErrInUse says that another process holds the state directory.
var ErrInUse = errors.New("state directory is in use")

// ErrOfAnother says that the state directory is another cluster's.
var ErrOfAnother = errors.New("another one")

// Dir is the state directory of a process, or of one of its nodes. Everything in it belongs to the user who made it; nobody else can look inside.
type Dir struct {
	Path string
	lock *os.File
}

// DefaultPath is the XDG state directory's vic: $XDG_STATE_HOME/vic, else ~/.local/state/vic.
func DefaultPath() (string, error) {
	if base := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "vic"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the default state directory (set --dir): %w", err)
	}
	return filepath.Join(home, ".local", "state", "vic"), nil
}

// At names a state directory without touching it.
func At(path string) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("state directory %q: %w", path, err)
	}
	return &Dir{Path: abs}, nil
}

// Open makes the state directory where there is none and locks it until Close. ErrInUse names the process that has it.
func Open(path string) (*Dir, error) {
	d, err := At(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	f, err := Lock(filepath.Join(d.Path, "lock"))
	if err != nil {
		return nil, fmt.Errorf("open state directory %s: %w", d.Path, err)
	}
	if err := writePID(f); err != nil {
		_ = f.Close() // the write's error is the one to report
		return nil, fmt.Errorf("write lock of %s: %w", d.Path, err)
	}
	d.lock = f
	return d, nil
}

// Lock makes a file where there is none and locks it. ErrInUse names the process that wrote its number into it.
func Lock(path string) (*os.File, error) {
	f, err := filelock.Try(path)
	if errors.Is(err, filelock.ErrLocked) {
		return nil, fmt.Errorf("%w by process %s", ErrInUse, holder(path))
	}
	return f, err
}

// Claim has the directory be of a cluster, by the cluster's UID, from now on. ErrOfAnother names the cluster whose it is already;
// nothing is changed then.
func (d *Dir) Claim(cluster string) error {
	path := filepath.Join(d.Path, "cluster")
	err := durable.Create(path, []byte(cluster+"\n"), 0o600)
	if err == nil || !errors.Is(err, os.ErrExist) {
		return err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read whose state directory it is: %w", err)
	}
	if of := strings.TrimSpace(string(b)); of != cluster {
		return fmt.Errorf("state directory %s is of cluster %s, %w than %s, which the API server is of", d.Path, of, ErrOfAnother, cluster)
	}
	return nil
}

// Close gives the lock back.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	return d.lock.Close()
}

// Purge deletes the directory with everything in it.
func (d *Dir) Purge() error {
	if err := os.RemoveAll(d.Path); err != nil {
		return fmt.Errorf("remove state directory: %w", err)
	}
	return nil
}

// Kubeconfig is where `vic up` writes the administrator's kubeconfig.
func (d *Dir) Kubeconfig() string { return filepath.Join(d.Path, "kubeconfig") }

// ControlPlane holds etcd's data, certificates and logs.
func (d *Dir) ControlPlane() string { return filepath.Join(d.Path, "controlplane") }

// NodeKubeconfig is the node's own credential.
func (d *Dir) NodeKubeconfig() string { return filepath.Join(d.ControlPlane(), "vic-node.kubeconfig") }

// Images is the image store.
func (d *Dir) Images() string { return filepath.Join(d.Path, "images") }

// VCH holds VMs and their disks.
func (d *Dir) VCH() string { return filepath.Join(d.Path, "vch") }

// VCHOf is the state directory of one of several VCHs.
func (d *Dir) VCHOf(node string) *Dir { return &Dir{Path: filepath.Join(d.vchs(), node)} }

// VCHs are those that there are.
func (d *Dir) VCHs() ([]*Dir, error) {
	entries, err := os.ReadDir(d.vchs())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list VCHs: %w", err)
	}
	var all []*Dir
	for _, e := range entries {
		all = append(all, d.VCHOf(e.Name()))
	}
	return all, nil
}

func (d *Dir) vchs() string { return filepath.Join(d.Path, "vchs") }

// Simulator holds what a simulated vCenter has.
func (d *Dir) Simulator() string { return filepath.Join(d.Path, "vcenter") }

// Runs holds a run directory for each pod.
func (d *Dir) Runs() string { return filepath.Join(d.Path, "run") }

// HasRuns reports whether there are pods that a node of this directory has run, and that are not gone.
func (d *Dir) HasRuns() (bool, error) {
	entries, err := os.ReadDir(d.Runs())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("look for pods: %w", err)
	}
	return slices.ContainsFunc(entries, os.DirEntry.IsDir), nil
}

// Place says where the pods of the node are.
func (d *Dir) Place() string { return filepath.Join(d.Node(), "place.json") }

// Node holds the node's serving certificate.
func (d *Dir) Node() string { return filepath.Join(d.Path, "node") }

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func holder(path string) string {
	b, _ := os.ReadFile(path) // an unreadable pid is shown as unknown
	if pid := strings.TrimSpace(string(b)); pid != "" {
		return pid
	}
	return "unknown"
}
