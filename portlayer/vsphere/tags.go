package vsphere

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

const (
	tagPause = 5 * time.Second
	// tagRetry is as long as a refused password is not shown again.
	tagRetry = refusalLife
)

// tagger attaches tags to VMs: one of their namespace, and one of the VCH. It has a session of its own, since tags are
// none of the API's that has VMs. One goroutine uses it.
type tagger struct {
	h      *Hypervisor
	client *rest.Client // nil while it is not logged in
	ids    map[string]string
	done   map[types.ManagedObjectReference]bool
}

// tag keeps the tags of VMs until ctx ends.
func (h *Hypervisor) tag(ctx context.Context) {
	t := &tagger{h: h, done: map[types.ManagedObjectReference]bool{}}
	defer func() { t.logOut(ctx) }()
	h.keep(ctx, keeper{what: "tags", pause: tagPause, retry: tagRetry, apply: t.apply})
}

// apply attaches what is missing. A session that was idle for long may be over: it is made anew once.
func (t *tagger) apply(ctx context.Context) error {
	due, vms := t.h.seen.untagged(t.h.config.Name, t.done)
	if len(due) == 0 {
		return nil
	}
	had := t.client != nil
	err := t.attach(ctx, due)
	if err != nil && had {
		t.logOut(ctx)
		err = t.attach(ctx, due)
	}
	if err != nil {
		t.logOut(ctx)
		return err
	}
	for _, ref := range vms {
		t.done[ref] = true
	}
	return nil
}

// attach attaches tags, by their names, to VMs. vCenter takes a tag that is there already, and says nothing of a VM that has
// gone or that we may not change.
func (t *tagger) attach(ctx context.Context, due map[string][]mo.Reference) error {
	if err := t.logIn(ctx); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(due)) {
		id, err := t.id(ctx, name)
		if err != nil {
			return fmt.Errorf("tag %s: %w", name, err)
		}
		if err := tags.NewManager(t.client).AttachTagToMultipleObjects(ctx, id, due[name]); err != nil {
			return fmt.Errorf("attach tag %s: %w", name, err)
		}
	}
	return nil
}

// logIn logs in, unless it is, and learns which tags there are.
func (t *tagger) logIn(ctx context.Context) error {
	if t.client != nil {
		return nil
	}
	client, err := t.h.config.Session.TagClient(ctx)
	if err != nil {
		return err
	}
	t.client = client
	manager := tags.NewManager(client)
	category, err := vcenter.FindCategory(ctx, manager, t.h.config.TagCategory)
	if errors.Is(err, portlayer.ErrNotFound) {
		category, err = manager.CreateCategory(ctx, &tags.Category{
			Name: t.h.config.TagCategory, Description: "Namespaces and VCHs of pods. Made by vic.",
			Cardinality: "MULTIPLE", AssociableTypes: []string{"VirtualMachine"},
		})
	}
	if err != nil {
		return fmt.Errorf("category %q: %w", t.h.config.TagCategory, err)
	}
	known, err := manager.GetTagsForCategory(ctx, category)
	if err != nil {
		return fmt.Errorf("tags of category %q: %w", t.h.config.TagCategory, err)
	}
	t.ids = map[string]string{"": category}
	for _, tag := range known {
		t.ids[tag.Name] = tag.ID
	}
	return nil
}

// id is that of a tag, which is made if it is not there. The category's is that of no name.
func (t *tagger) id(ctx context.Context, name string) (string, error) {
	if id, ok := t.ids[name]; ok {
		return id, nil
	}
	id, err := tags.NewManager(t.client).CreateTag(ctx, &tags.Tag{Name: name, CategoryID: t.ids[""]})
	if err == nil {
		t.ids[name] = id
	}
	return id, err
}

func (t *tagger) logOut(ctx context.Context) {
	if t.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	_ = t.client.Logout(ctx) // it may be over, and ends by itself
	t.client = nil
}

// TagClient logs in to the part of the API that has tags. The caller logs out.
func (s *Session) TagClient(ctx context.Context) (*rest.Client, error) {
	if !s.client.IsVC() {
		return nil, fmt.Errorf("tags: an ESXi host by itself has none: %w", portlayer.ErrUnsupported)
	}
	password, err := s.target.password(ctx)
	if err == nil {
		err = s.target.Refusals.remembers(s.target, password)
	}
	if err != nil {
		return nil, err
	}
	client := rest.NewClient(s.client)
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	if err := client.Login(ctx, url.UserPassword(s.target.User, password)); err != nil {
		return nil, fmt.Errorf("log in for tags as %q: %w", s.target.User, err)
	}
	return client, nil
}

// untagged are the VMs without tags by the tags that they should have. Of done it forgets VMs that are gone.
func (i *inventory) untagged(vch string, done map[types.ManagedObjectReference]bool) (map[string][]mo.Reference, []types.ManagedObjectReference) {
	i.mu.Lock()
	defer i.mu.Unlock()
	maps.DeleteFunc(done, func(ref types.ManagedObjectReference, _ bool) bool { _, there := i.vms[ref]; return !there })
	due := map[string][]mo.Reference{}
	var vms []types.ManagedObjectReference
	for ref, vm := range i.vms {
		if done[ref] {
			continue
		}
		vms = append(vms, ref)
		for _, name := range []string{"vch=" + vch, "namespace=" + vm.record.spec.Owner.Namespace} {
			due[name] = append(due[name], ref)
		}
	}
	return due, vms
}
