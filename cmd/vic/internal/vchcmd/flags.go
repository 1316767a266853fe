package vchcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/node/vspherevch"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// vchFlags are those of all commands on a VCH.
type vchFlags struct {
	config, node string
	// user and passwordFile are an administrator's, where the node's account has too few rights.
	user, passwordFile string
	dryRun             bool

	// What follows is of the file: the state directory of its process, and all its VCHs on vSphere.
	dir string
	all []*config.Entry
}

// Variable is an environment variable of govc that stands in for a key of the vsphere section which the file leaves out.
type Variable struct {
	Name, Key string
	of        func(*config.VSphere) *string
}

// Variables are all of them.
func Variables() []Variable {
	return []Variable{
		{"GOVC_URL", "address", func(s *config.VSphere) *string { return &s.Address }},
		{"GOVC_USERNAME", "user", func(s *config.VSphere) *string { return &s.User }},
		{"GOVC_DATACENTER", "datacenter", func(s *config.VSphere) *string { return &s.Datacenter }},
		{"GOVC_RESOURCE_POOL", "pool", func(s *config.VSphere) *string { return &s.Pool }},
		{"GOVC_FOLDER", "folder", func(s *config.VSphere) *string { return &s.Folder }},
		{"GOVC_DATASTORE", "datastore", func(s *config.VSphere) *string { return &s.Datastore }},
		{"GOVC_NETWORK", "network", func(s *config.VSphere) *string { return &s.Network }},
		{caVariable, "caFile", func(s *config.VSphere) *string { return &s.CAFile }},
	}
}

// caVariable counts only where the file does not say whom to trust.
const caVariable = "GOVC_TLS_CA_CERTS"

// complete has flags win over the file, and the file over the environment. A Secret that an object names is the cluster's,
// which these commands don't ask: the account is given to them.
func (f *vchFlags) complete(s *config.VSphere) {
	s.CredentialsSecret = ""
	s.User, s.PasswordFile = cmp.Or(f.user, s.User), cmp.Or(f.passwordFile, s.PasswordFile)
	for _, variable := range Variables() {
		if variable.Name == caVariable && (s.Thumbprint != "" || s.Insecure) {
			continue
		}
		key := variable.of(s)
		*key = cmp.Or(*key, os.Getenv(variable.Name))
	}
}

func (f *vchFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "", "`FILE` with the node's configuration and its vsphere section (docs/vsphere.md)")
	cmd.Flags().StringVar(&f.node, "node", "", "`NAME` of the node, if the file has several")
	cmd.Flags().StringVar(&f.user, "user", "", "user of vSphere, such as an administrator (default: the file's)")
	cmd.Flags().StringVar(&f.passwordFile, "password-file", "", "`FILE` with that user's password (default: the file's)")
}

func (f *vchFlags) addDryRun(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "only show what would be done")
}

// entries are the VCHs on vSphere that the file has and the flags mean; there is at least one.
func (f *vchFlags) entries() ([]*config.Entry, error) {
	if (f.user == "") != (f.passwordFile == "") {
		return nil, cli.Misused("--user and --password-file belong together")
	}
	if f.config == "" {
		return nil, cli.Misused("--config is needed: the file of vic node, with a vsphere section (docs/vsphere.md)")
	}
	settings := cli.NewSettings(nil, config.DefaultNode())
	if err := settings.ReadFile(f.config); err != nil {
		return nil, err
	}
	settings.Node.SetDefaults()
	f.dir, f.all = settings.Node.Dir, nil
	var found []*config.Entry
	for _, e := range settings.Node.Entries() {
		if e.VSphere == nil {
			continue
		}
		f.complete(e.VSphere)
		f.all = append(f.all, e)
		if f.node != "" && f.node != e.NodeName {
			continue
		}
		if err := e.Check(); err != nil {
			return nil, cli.Misused("--config %s: %w", f.config, err)
		}
		found = append(found, e)
	}
	switch {
	case len(found) == 0 && f.node != "":
		return nil, cli.Misused("--config %s: it has no node %s with a vsphere section (--node)", f.config, f.node)
	case len(found) == 0:
		return nil, cli.Misused("--config %s: it has no vsphere section", f.config)
	}
	return found, nil
}

// entry is the one VCH that the flags mean.
func (f *vchFlags) entry() (*config.Entry, error) {
	found, err := f.entries()
	if err != nil {
		return nil, err
	}
	if len(found) > 1 {
		var names []string
		for _, e := range found {
			names = append(names, e.NodeName)
		}
		return nil, cli.Misused("--config %s: it has several VCHs; --node says which: %s", f.config, strings.Join(names, ", "))
	}
	return found[0], nil
}

// with logs in and calls do with the VCH that the flags mean.
func (f *vchFlags) with(ctx context.Context, do func(context.Context, vsphere.Config) error) error {
	e, err := f.entry()
	if err != nil {
		return err
	}
	return withSession(ctx, e, do)
}

// requireStopped refuses what a node does not stand whose process runs on this host.
func (f *vchFlags) requireStopped() error {
	if _, err := f.entry(); err != nil {
		return err
	}
	path := filepath.Join(f.dir, "lock")
	if _, err := os.Stat(path); err != nil {
		return nil //nolint:nilerr // no process of this host has the directory
	}
	lock, err := statedir.Lock(path)
	if errors.Is(err, statedir.ErrInUse) {
		return fmt.Errorf("stop the node first: %s: %w", f.dir, err)
	}
	if err == nil {
		_ = lock.Close() // it was only tried
	}
	return nil
}

// withSession logs in and calls do with a VCH.
func withSession(ctx context.Context, e *config.Entry, do func(context.Context, vsphere.Config) error) error {
	return vspherevch.New().WithSession(ctx, &node.VCH{Entry: *e}, do)
}
