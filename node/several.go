package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/node/statedir"
)

// lockInterval is how often a leader looks whether the former one has let go of the state directory.
const lockInterval = time.Second

// source says which VCHs a process serves: a file, or the objects of a cluster.
type source interface {
	// setUp has the manager call what the source needs, before it starts.
	setUp(m ctrl.Manager) error
	// authority keeps the authority that guests trust; nil is a file of the state directory.
	authority(m ctrl.Manager) AuthorityKeeper
	// run has the fleet serve what the source says until ctx ends. It is called when this process leads and listens.
	run(ctx context.Context) error
}

// nodes makes the nodes of a source, and removes what they leave.
type nodes interface {
	// ofEntry returns the VCH of an entry, with its credentials.
	ofEntry(ctx context.Context, e *config.Entry) (*VCH, error)
	// spec is what a fleet makes a node of.
	spec(v *VCH) (Spec, error)
	// purge ends what a VCH has left running on this host, and removes the state of its node.
	purge(ctx context.Context, e *config.Entry) error
}

// serveSeveral serves several nodes, as the leader where there are several processes.
func (s *server) serveSeveral(ctx context.Context) error {
	ready := newReadiness()
	m, err := s.newManager(ctx, ready)
	if err != nil {
		return err
	}
	from, fleet := s.newSource(ready)
	if err := from.setUp(m); err != nil {
		return fmt.Errorf("serve VCHs: %w", err)
	}
	// The manager calls it when this process leads, and waits for it at the end.
	err = m.Add(manager.RunnableFunc(func(ctx context.Context) error { return s.lead(ctx, leading{m, from, fleet, ready}) }))
	if err != nil {
		return fmt.Errorf("serve VCHs: %w", err)
	}
	if err := m.Start(ctx); err != nil {
		return fmt.Errorf("serve VCHs: %w", err)
	}
	return nil
}

func (s *server) newSource(ready *readiness) (source, *Fleet) {
	if s.Settings.Controller {
		c := newClusterSource(s, ready)
		return c, c.fleet
	}
	f := newFileSource(s)
	return f, f.fleet
}

// leading is what a process that leads does it with.
type leading struct {
	manager ctrl.Manager
	source  source
	fleet   *Fleet
	ready   *readiness
}

// lead serves nodes until ctx ends.
func (s *server) lead(ctx context.Context, l leading) error {
	state, err := s.lockState(ctx)
	if err != nil {
		return err
	}
	s.state = state
	defer func() { _ = state.Close() }() // the process is about to end, and the lock with it
	group, ctx := errgroup.WithContext(ctx)
	closeGuests, err := s.listenForGuests(ctx, group, l.source.authority(l.manager))
	if err != nil {
		return err
	}
	defer closeGuests() // after the nodes
	group.Go(func() error { l.fleet.Run(ctx); return nil })
	group.Go(func() error { return l.source.run(ctx) })
	l.ready.begin()
	notifyReady(ctx)
	return group.Wait()
}

// lockState opens the state directory, as soon as a former leader that shares it has let go of it.
func (s *server) lockState(ctx context.Context) (*statedir.Dir, error) {
	tick := time.NewTicker(lockInterval)
	defer tick.Stop()
	for said := false; ; said = true {
		state, err := statedir.Open(s.Settings.Dir)
		if err == nil {
			return state, nil
		}
		if !errors.Is(err, statedir.ErrInUse) || s.Settings.LeaderElection == nil {
			return nil, err
		}
		if !said {
			logging.From(ctx).WarnContext(ctx, "waiting for the state directory", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}
