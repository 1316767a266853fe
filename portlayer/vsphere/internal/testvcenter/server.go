package testvcenter

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/vcsim"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// Server is a simulated vCenter or ESXi host that a test has.
type Server struct {
	*testing.T
	Model *simulator.Model
	// HTTP serves the model; its URL has the administrator's user and password.
	HTTP *simulator.Server
	// Admin is an administrator's client, and Target says how the program logs in.
	Admin  *govmomi.Client
	Target vsphere.Target
	Disks  *vcsim.Disks
	// Before sees the simulator's calls; nil sees none.
	Before func(ctx *simulator.Context, method *simulator.Method) types.BaseMethodFault
	search *search
}

// Start makes a model and serves it.
func Start(t *testing.T, model *simulator.Model) *Server {
	t.Helper()
	require.NoError(t, model.Create())
	return Serve(t, model)
}

// Cluster is a vCenter with one cluster and no VM.
func Cluster(t *testing.T) *Server {
	t.Helper()
	return Start(t, emptyCluster())
}

// ClusterWithEndpoints is one that has storage policies and tags beside, where the test imports their simulators.
func ClusterWithEndpoints(t *testing.T) *Server {
	t.Helper()
	m := emptyCluster()
	require.NoError(t, m.Create())
	m.Service.RegisterEndpoints = true
	return Serve(t, m)
}

func emptyCluster() *simulator.Model {
	m := simulator.VPX()
	m.Machine, m.Host = 0, 0
	return m
}

// LoneHost is an ESXi host by itself.
func LoneHost(t *testing.T) *Server {
	t.Helper()
	m := simulator.ESX()
	m.Machine = 0
	return Start(t, m)
}

// Serve serves a model that is made.
func Serve(t *testing.T, model *simulator.Model) *Server {
	t.Helper()
	t.Cleanup(model.Remove)
	model.Service.TLS = new(tls.Config)
	server := model.Service.NewServer()
	t.Cleanup(func() { go server.Close() }) // waits a minute for questions that came with a session which is lost
	s := &Server{T: t, Model: model, HTTP: server}
	s.Disks, s.search = vcsim.AddDisks(model.Map()), addSearch(model.Map())
	model.Map().Handler = func(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		vcsim.BeforeCall(ctx, method)
		s.Disks.BeforeCall(ctx, method)
		if s.Before != nil {
			return nil, s.Before(ctx, method)
		}
		return nil, nil //nolint:nilnil // the simulator goes on by itself
	}

	dir := t.TempDir()
	password, _ := server.URL.User.Password()
	s.Target = vsphere.Target{
		Address: server.URL.Host, User: server.URL.User.Username(),
		PasswordFile: filepath.Join(dir, "password"), CAFile: filepath.Join(dir, "ca.pem"),
	}
	require.NoError(t, os.WriteFile(s.Target.PasswordFile, []byte(password+"\n"), 0o600))
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(t, os.WriteFile(s.Target.CAFile, ca, 0o600))

	admin, err := govmomi.NewClient(t.Context(), &url.URL{Scheme: "https", Host: server.URL.Host, Path: "/sdk", User: server.URL.User}, true)
	require.NoError(t, err)
	s.Admin = admin
	return s
}

// Session is one of the program's, until the test ends.
func (s *Server) Session() *vsphere.Session {
	s.Helper()
	session, err := vsphere.Connect(s.Context(), s.Target)
	require.NoError(s, err)
	s.Cleanup(func() { session.Close(context.WithoutCancel(s.Context())) })
	return session
}

// Finder finds what an administrator sees in the one datacenter.
func (s *Server) Finder() *find.Finder {
	s.Helper()
	finder := find.NewFinder(s.Admin.Client)
	dc, err := finder.DefaultDatacenter(s.Context())
	require.NoError(s, err)
	return finder.SetDatacenter(dc)
}

// TagManager is an administrator's.
func (s *Server) TagManager() *tags.Manager {
	s.Helper()
	client := rest.NewClient(s.Admin.Client)
	password, _ := s.HTTP.URL.User.Password()
	require.NoError(s, client.Login(s.Context(), url.UserPassword(s.HTTP.URL.User.Username(), password)))
	s.Cleanup(func() { _ = client.Logout(context.WithoutCancel(s.Context())) })
	return tags.NewManager(client)
}

// Deny has vCenter refuse to read objects of some types.
func (s *Server) Deny(kinds ...string) {
	s.Before = func(_ *simulator.Context, m *simulator.Method) types.BaseMethodFault {
		read, ok := m.Body.(*types.RetrievePropertiesEx)
		if ok && slices.Contains(kinds, read.SpecSet[0].ObjectSet[0].Obj.Type) {
			return &types.NoPermission{PrivilegeId: "System.Read"}
		}
		return nil
	}
}

// SetUnreserved says what memory VMs may reserve in the resource pools.
func (s *Server) SetUnreserved(bytes int64) {
	for _, o := range s.Model.Map().All("ResourcePool") {
		pool := o.(*simulator.ResourcePool)
		s.Model.Service.Context.WithLock(pool, func() { pool.Runtime.Memory.UnreservedForVm = bytes })
	}
}

// OnVSAN makes the datastore one of vSAN, which makes and removes directories at its top by their own way alone.
func (s *Server) OnVSAN() {
	s.Helper()
	store, err := s.Finder().DefaultDatastore(s.Context())
	require.NoError(s, err)
	ds := s.Model.Map().Get(store.Reference()).(*simulator.Datastore)
	s.Model.Service.Context.WithLock(ds, func() { ds.Summary.Type = "vsan" })
	tops := map[string]bool{}
	s.Before = func(_ *simulator.Context, m *simulator.Method) types.BaseMethodFault {
		var path object.DatastorePath
		switch body := m.Body.(type) {
		case *types.CreateDirectory:
			tops[body.DisplayName] = true
			return nil
		case *types.MakeDirectory:
			path.FromString(body.Name)
		case *types.DeleteDatastoreFile_Task:
			if path.FromString(body.Name); strings.Contains(path.Path, "/") {
				return nil
			}
		default:
			return nil
		}
		if top, _, below := strings.Cut(path.Path, "/"); !below || !tops[top] {
			return &types.CannotCreateFile{FileFault: types.FileFault{File: path.String()}}
		}
		return nil
	}
}
