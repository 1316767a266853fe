package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
	"github.com/virtual-kubelet/vic/controllers"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/channels"
)

const (
	// rereadInterval is how often the file is looked at for another list of VCHs.
	rereadInterval = 5 * time.Second
	// probeTimeout bounds the look at what a changed VCH would be.
	probeTimeout = time.Minute
	// removeTimeout bounds the removal of what is left on a node.
	removeTimeout = 5 * time.Minute
	// lockInterval is how often a leader looks whether the former one has let go of the state directory.
	lockInterval = time.Second
)

// servedNode is one of several nodes.
type servedNode struct {
	*vchNode
	state *statedir.Dir
}

// Run implements node.Served.
func (n *servedNode) Run(ctx context.Context) error {
	go func() { // ends with ctx at the latest
		select {
		case <-n.ready():
			logging.From(ctx).InfoContext(ctx, "node became Ready", "node", n.config.Flags.name)
		case <-ctx.Done():
		}
	}()
	return n.run(ctx)
}

// Close implements node.Served.
func (n *servedNode) Close(ctx context.Context) {
	n.close()
	if err := n.state.Close(); err != nil {
		logging.From(ctx).WarnContext(ctx, "state directory not unlocked", "err", err)
	}
}

// RemoveVMs implements node.Served.
func (n *servedNode) RemoveVMs(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	vms, err := n.host.List(ctx)
	if err != nil {
		return err
	}
	for _, vm := range vms {
		if vm.Spec.Owner.Node != n.config.Flags.name {
			continue
		}
		if err := n.host.Remove(ctx, vm.Spec.ID); err != nil && !errors.Is(err, portlayer.ErrNotFound) {
			return err
		}
	}
	return nil
}

// spec is what the fleet makes a node of. Its revision is all that the file says of the VCH.
func (s *nodeServer) spec(n *vchFile, more ...string) (node.Spec, error) {
	text, err := json.Marshal([]any{n, more})
	if err != nil {
		return node.Spec{}, fmt.Errorf("VCH %s: %w", n.NodeName, err)
	}
	sum := sha256.Sum256(text)
	return node.Spec{
		Revision: hex.EncodeToString(sum[:]),
		Check:    func(ctx context.Context) error { return n.probe(ctx) },
		Open: func(ctx context.Context) (node.Served, error) {
			state, err := statedir.Open(s.state.VCHOf(n.NodeName).Path)
			if err != nil {
				return nil, err
			}
			opened, err := s.open(ctx, n, state)
			if err != nil {
				return nil, errors.Join(err, state.Close())
			}
			return &servedNode{opened, state}, nil
		},
	}, nil
}

// probe returns why a VCH could not be opened, and opens nothing.
func (n *vchFile) probe(ctx context.Context) error {
	if n.VSphere == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return n.withSession(ctx, vsphere.Probe)
}

// runFleet serves several nodes, as the leader where there are several processes.
func (s *nodeServer) runFleet(ctx context.Context, path string) error {
	listening := newReadiness()
	m, err := s.newManager(ctx, listening)
	if err != nil {
		return err
	}
	if s.file.Controller != nil {
		err = s.addController(m, listening)
	} else {
		// The manager calls it when this process leads, and waits for it at the end.
		err = m.Add(manager.RunnableFunc(func(ctx context.Context) error { return s.serveFile(ctx, path, listening) }))
	}
	if err != nil {
		return fmt.Errorf("serve VCHs: %w", err)
	}
	if err := m.Start(ctx); err != nil {
		return fmt.Errorf("serve VCHs: %w", err)
	}
	return nil
}

// lockState opens the state directory, as soon as a former leader that shares it has let go of it.
func (s *nodeServer) lockState(ctx context.Context) (unlock func(), err error) {
	tick := time.NewTicker(lockInterval)
	defer tick.Stop()
	for told := false; ; told = true {
		s.state, err = statedir.Open(s.file.Dir)
		if err == nil {
			return func() { _ = s.state.Close() }, nil // the process is about to end, and the lock with it
		}
		if !errors.Is(err, statedir.ErrInUse) || s.file.LeaderElection == nil {
			return nil, err
		}
		if !told {
			logging.From(ctx).WarnContext(ctx, "waiting for the state directory", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// openGuests opens the place where guests of all VCHs dial in.
func (s *nodeServer) openGuests(ctx context.Context, authority func() (*channels.Authority, error)) error {
	if s.file.GuestListen == "" {
		return nil
	}
	a, err := authority()
	if err != nil {
		return err
	}
	s.guests, err = listenForGuests(ctx, "guestListen", s.file.GuestListen, a)
	return err
}

// serveFile serves the list of the file, as it is at any time.
func (s *nodeServer) serveFile(ctx context.Context, path string, listening *readiness) error {
	unlock, err := s.lockState(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	err = s.openGuests(ctx, func() (*channels.Authority, error) {
		return channels.LoadAuthority(filepath.Join(s.state.Node(), authorityFile))
	})
	if err != nil {
		return err
	}
	if s.guests != nil {
		defer s.guests.close()
	}
	c, err := client.New(s.api, client.Options{})
	if err != nil {
		return fmt.Errorf("make API client: %w", err)
	}
	list := &fileList{
		server: s, nodes: node.NewFleet(func(string) {}), drainer: controllers.Drainer{Client: c, API: c},
		file: s.file, served: map[string]*vchFile{}, told: map[string]string{},
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { list.nodes.Run(ctx) })
	defer running.Wait()
	defer cancel()
	list.apply(ctx)
	listening.begin()
	tellReady(ctx)
	tick := time.NewTicker(rereadInterval)
	defer tick.Stop()
	failed := s.failedGuests(ctx)
	for {
		select {
		case <-tick.C:
			list.reread(ctx, path)
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// failedGuests sends what ends the place where guests dial in.
func (s *nodeServer) failedGuests(ctx context.Context) <-chan error {
	failed := make(chan error, 1)
	if s.guests == nil {
		return failed
	}
	go func() { // ends with ctx at the latest
		if err := s.guests.run(ctx); err != nil {
			failed <- err
		}
	}()
	return failed
}

// fileList has the fleet be what a file says.
type fileList struct {
	server  *nodeServer
	nodes   *node.Fleet
	drainer controllers.Drainer
	seen    [sha256.Size]byte // the file's text that was applied or refused last
	file    *nodeFile
	served  map[string]*vchFile // by node: as it was applied last, until it is removed

	mu   sync.Mutex        // guards told
	told map[string]string // of each VCH, what was logged of it last
}

// reread looks whether the file is another one. One that is wrong changes nothing.
func (l *fileList) reread(ctx context.Context, path string) {
	text, err := os.ReadFile(path)
	if sum := sha256.Sum256(text); err == nil && sum != l.seen {
		l.seen = sum
		f, err := readNodeFile(path)
		switch {
		case err != nil:
		case f.Controller != nil || !f.isFleet():
			err = errors.New("vchs is gone; it needs a restart to serve something else")
		case f.GuestListen != l.server.file.GuestListen:
			err = errors.New("guestListen has changed, which needs a restart")
		}
		if err == nil {
			l.file = f
		} else {
			logging.From(ctx).ErrorContext(ctx, "configuration is wrong and changes nothing", "err", err)
		}
	}
	l.apply(ctx)
}

// apply serves the VCHs of the list, and ends others, each by itself: one whose vCenter hangs holds up no other.
func (l *fileList) apply(ctx context.Context) {
	var all sync.WaitGroup
	wanted := map[string]bool{}
	for _, n := range l.file.vchs() {
		wanted[n.NodeName] = true
		if from := l.served[n.NodeName]; from != nil {
			if err := n.moved(from); err != nil {
				l.tell(ctx, n.NodeName, err)
				continue
			}
		}
		l.served[n.NodeName] = n
		all.Go(func() { l.tell(ctx, n.NodeName, l.serve(ctx, n)) })
	}
	gone := slices.DeleteFunc(slices.Collect(maps.Keys(l.served)), func(name string) bool { return wanted[name] })
	left := make([]bool, len(gone))
	for i, name := range gone {
		all.Go(func() {
			err := l.remove(ctx, name)
			l.tell(ctx, name, err)
			left[i] = err != nil
		})
	}
	all.Wait()
	for i, name := range gone {
		if !left[i] {
			delete(l.served, name)
		}
	}
}

func (l *fileList) serve(ctx context.Context, n *vchFile) error {
	spec, err := l.server.spec(n)
	if err != nil {
		return err
	}
	return l.nodes.Apply(ctx, n.NodeName, spec)
}

func (l *fileList) remove(ctx context.Context, name string) error {
	if l.file.DeletionPolicy == v1alpha1.DeletionOrphan {
		l.nodes.Abandon(name)
		return l.drainer.DeleteNode(ctx, name)
	}
	if err := l.drainer.Cordon(ctx, name); err != nil {
		return err
	}
	if err := l.drainer.Empty(ctx, name, l.file.DeletionPolicy == v1alpha1.DeletionDrain); err != nil {
		return err
	}
	if err := l.nodes.Remove(ctx, name); err != nil {
		return err
	}
	return errors.Join(purgeVCH(ctx, l.server.state.VCHOf(name)), l.drainer.DeleteNode(ctx, name))
}

// tell logs what is wrong, once for as long as it is the same.
func (l *fileList) tell(ctx context.Context, name string, err error) {
	var text string
	if err != nil {
		text = err.Error()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if text != "" && text != l.told[name] {
		logging.From(ctx).WarnContext(ctx, "VCH is not as the configuration says", "vch", name, "err", err)
	}
	l.told[name] = text
}
