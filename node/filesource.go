package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/controllers"
	"github.com/virtual-kubelet/vic/internal/logging"
)

// rereadInterval is how often the file is looked at for another list of VCHs.
const rereadInterval = 5 * time.Second

// fileSource has the fleet be what a file says at any time.
type fileSource struct {
	path    string
	fleet   *Fleet
	drainer controllers.Drainer
	nodes   nodes

	seen     [sha256.Size]byte // the file's text that was applied or refused last
	settings *config.Node
	served   map[string]*config.Entry // by name: as it was applied last, until it is removed

	mu   sync.Mutex        // guards said
	said map[string]string // of each VCH, what was logged of it last
}

func newFileSource(s *server) *fileSource {
	return &fileSource{
		path: s.Path, fleet: NewFleet(func(string) {}), nodes: s,
		settings: s.Settings, served: map[string]*config.Entry{}, said: map[string]string{},
	}
}

func (f *fileSource) setUp(m ctrl.Manager) error {
	f.drainer = controllers.Drainer{Client: m.GetClient(), API: m.GetAPIReader()}
	return nil
}

func (f *fileSource) authority(ctrl.Manager) AuthorityKeeper { return nil }

func (f *fileSource) run(ctx context.Context) error {
	f.apply(ctx)
	tick := time.NewTicker(rereadInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.reread(ctx)
			f.apply(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// reread looks whether the file is another one. One that is wrong changes nothing.
func (f *fileSource) reread(ctx context.Context) {
	text, err := os.ReadFile(f.path)
	sum := sha256.Sum256(text)
	if err != nil || sum == f.seen {
		return
	}
	f.seen = sum
	settings, err := f.parse(text)
	if err != nil {
		logging.From(ctx).ErrorContext(ctx, "configuration is wrong and changes nothing", "err", err)
		return
	}
	f.settings = settings
}

func (f *fileSource) parse(text []byte) (*config.Node, error) {
	settings, err := config.Parse(text)
	if err != nil {
		return nil, err
	}
	settings.SetDefaults()
	if err := settings.Check(); err != nil {
		return nil, err
	}
	switch {
	case len(settings.VCHs) == 0:
		return nil, errors.New("vchs is gone; it needs a restart to serve something else")
	case settings.GuestListen != f.settings.GuestListen:
		return nil, errors.New("guestListen has changed, which needs a restart")
	}
	return settings, nil
}

// apply serves the VCHs of the list, and ends others, each by itself: one whose vCenter hangs holds up no other.
func (f *fileSource) apply(ctx context.Context) {
	var all sync.WaitGroup
	wanted := map[string]bool{}
	for _, e := range f.settings.Entries() {
		wanted[e.Name] = true
		if from := f.served[e.Name]; from != nil {
			if err := e.CheckChange(from.Place()); err != nil {
				f.say(ctx, e.Name, err)
				continue
			}
		}
		f.served[e.Name] = e
		all.Go(func() { f.say(ctx, e.Name, f.serve(ctx, e)) })
	}
	gone := slices.DeleteFunc(slices.Collect(maps.Keys(f.served)), func(name string) bool { return wanted[name] })
	left := make([]bool, len(gone))
	for i, name := range gone {
		e := f.served[name]
		all.Go(func() {
			err := f.remove(ctx, e)
			f.say(ctx, name, err)
			left[i] = err != nil
		})
	}
	all.Wait()
	for i, name := range gone {
		if !left[i] {
			delete(f.served, name)
		}
	}
}

func (f *fileSource) serve(ctx context.Context, e *config.Entry) error {
	v, err := f.nodes.ofEntry(ctx, e)
	if err != nil {
		return err
	}
	spec, err := f.nodes.spec(v)
	if err != nil {
		return err
	}
	return f.fleet.Apply(ctx, e.Name, spec)
}

// remove takes a node away as its deletion policy says; an error says what is waited for.
func (f *fileSource) remove(ctx context.Context, e *config.Entry) error {
	policy := e.Policy(f.settings)
	if policy == config.DeletionOrphan {
		f.fleet.Abandon(e.Name)
		return f.leave(ctx, e, f.drainer.DeleteNode(ctx, e.NodeName))
	}
	if err := f.drainer.Cordon(ctx, e.NodeName); err != nil {
		return f.leave(ctx, e, err)
	}
	if err := f.drainer.Empty(ctx, e.NodeName, policy == config.DeletionDrain); err != nil {
		return err
	}
	if err := f.fleet.Remove(ctx, e.Name); err != nil {
		return err
	}
	return errors.Join(f.nodes.purge(ctx, e), f.drainer.DeleteNode(ctx, e.NodeName))
}

// leave gives up an entry whose Node is somebody else's: neither that nor the pods on it are touched. Other errors are returned.
func (f *fileSource) leave(ctx context.Context, e *config.Entry, err error) error {
	if !errors.Is(err, config.ErrForeignNode) {
		return err
	}
	f.fleet.Abandon(e.Name)
	logging.From(ctx).WarnContext(ctx, "VCH left the configuration, its Node is left alone", "vch", e.Name, "err", err)
	return nil
}

// say logs what is wrong, once for as long as it is the same.
func (f *fileSource) say(ctx context.Context, name string, err error) {
	var text string
	if err != nil {
		text = err.Error()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if text != "" && text != f.said[name] {
		logging.From(ctx).WarnContext(ctx, "VCH is not as the configuration says", "vch", name, "err", err)
	}
	f.said[name] = text
}
