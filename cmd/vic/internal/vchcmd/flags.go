package main

import (
	"cmp"
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// vchFlags are those of all commands on a VCH.
type vchFlags struct {
	config, node string
	// user and passwordFile are an administrator's, where the node's account has too few rights.
	user, passwordFile string
	dryRun             bool
}

// govc are the environment variables of govc that stand in for keys which the file leaves out.
var govc = []struct {
	name string
	key  func(*vsphereFile) *string
}{
	{"GOVC_URL", func(f *vsphereFile) *string { return &f.Address }},
	{"GOVC_USERNAME", func(f *vsphereFile) *string { return &f.User }},
	{"GOVC_DATACENTER", func(f *vsphereFile) *string { return &f.Datacenter }},
	{"GOVC_RESOURCE_POOL", func(f *vsphereFile) *string { return &f.Pool }},
	{"GOVC_FOLDER", func(f *vsphereFile) *string { return &f.Folder }},
	{"GOVC_DATASTORE", func(f *vsphereFile) *string { return &f.Datastore }},
	{"GOVC_NETWORK", func(f *vsphereFile) *string { return &f.Network }},
}

// complete has flags win over the file, and the file over the environment.
func (f *vchFlags) complete(v *vsphereFile) {
	v.User, v.PasswordFile = cmp.Or(f.user, v.User), cmp.Or(f.passwordFile, v.PasswordFile)
	for _, variable := range govc {
		key := variable.key(v)
		*key = cmp.Or(*key, os.Getenv(variable.name))
	}
	if v.CAFile == "" && v.Thumbprint == "" && !v.Insecure {
		v.CAFile = os.Getenv("GOVC_TLS_CA_CERTS")
	}
}

func (f *vchFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "", "`FILE` with the node's configuration and its vsphere section (docs/vsphere.md)")
	cmd.Flags().StringVar(&f.node, "node", "", "`NAME` of the node, where the file has several")
	cmd.Flags().StringVar(&f.user, "user", "", "user of vSphere, such as an administrator (default: the file's)")
	cmd.Flags().StringVar(&f.passwordFile, "password-file", "", "`FILE` with that user's password (default: the file's)")
}

func (f *vchFlags) addDryRun(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "only show what would be done")
}

// files are the VCHs on vSphere that the file has and the flags mean; there is at least one.
func (f *vchFlags) files() ([]*vchFile, error) {
	if (f.user == "") != (f.passwordFile == "") {
		return nil, misused("--user and --password-file belong together")
	}
	if f.config == "" {
		return nil, misused("--config is needed: the file of vic node, with its vsphere section (docs/vsphere.md)")
	}
	file, err := completeNodeFile(f.config, f.complete)
	if err != nil {
		return nil, err
	}
	var found []*vchFile
	for _, n := range file.vchs() {
		if n.VSphere != nil && (f.node == "" || f.node == n.NodeName) {
			found = append(found, n)
		}
	}
	switch {
	case len(found) == 0 && f.node != "":
		return nil, misused("--config %s: it has no node %s with a vsphere section (--node)", f.config, f.node)
	case len(found) == 0:
		return nil, misused("--config %s: it has no vsphere section", f.config)
	}
	return found, nil
}

// file is the one VCH that the flags mean.
func (f *vchFlags) file() (*vchFile, error) {
	found, err := f.files()
	if err != nil {
		return nil, err
	}
	if len(found) > 1 {
		var names []string
		for _, n := range found {
			names = append(names, n.NodeName)
		}
		return nil, misused("--config %s: it has several VCHs; --node says which: %s", f.config, strings.Join(names, ", "))
	}
	return found[0], nil
}

// with logs in and calls do with the VCH that the flags mean.
func (f *vchFlags) with(ctx context.Context, do func(context.Context, vsphere.Config) error) error {
	n, err := f.file()
	if err != nil {
		return err
	}
	return n.withSession(ctx, do)
}

// withSession logs in and calls do with the VCH.
func (n *vchFile) withSession(ctx context.Context, do func(context.Context, vsphere.Config) error) error {
	session, err := vsphere.Connect(ctx, n.VSphere.target())
	if err != nil {
		return err
	}
	defer n.VSphere.logOut(ctx, session)
	cfg := n.VSphere.config(n.NodeName, session)
	offered, err := n.capacity(0)
	if err != nil {
		return err
	}
	cfg.MaxPods, cfg.CPUMilli, cfg.MemoryBytes = offered.pods, offered.cpu*1000, offered.memory.bytes
	return do(ctx, cfg)
}
