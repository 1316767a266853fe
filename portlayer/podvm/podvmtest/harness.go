package podvmtest

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
)

const (
	podUID     = "7d8ae4a5-1f0b-4a47-8b4b-1f6f4f1f2a3b"
	container  = "app"
	imageDisk  = "image0"
	scratch    = "scratch"
	logPoll    = 20 * time.Millisecond
	searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// defaultTimeout is a Harness's Timeout where it has none.
const defaultTimeout = 30 * time.Second

// Harness is a host without pod VMs, to be tested.
type Harness struct {
	Host podvm.PodHost
	// Reopen lets go of the host and returns one over the same VMs and records, as the next process has it.
	Reopen func() podvm.PodHost
	// Kill ends a running VM from outside.
	Kill func(uid string)
	// Image is the disk of an image that has /bin/sh with echo, sleep and cat.
	Image portlayer.DiskSource
	// Scope is a network to join; empty leaves networking out.
	Scope string
	// Timeout is how long a boot may take, and everything else; the zero value is 30 s.
	Timeout time.Duration
	// Size is what VMs get; the zero value is 1 processor and 256 MiB.
	Size portlayer.Size
}

// tester is one test of a host.
type tester struct {
	*testing.T
	Harness
	ctx context.Context // bounds the test that the tester is
}

func newTester(t *testing.T, open func(t *testing.T) Harness) *tester {
	t.Helper()
	h := open(t)
	reopen := h.Reopen
	h.Host, h.Reopen = namesOnce{h.Host, t}, func() podvm.PodHost { return namesOnce{reopen(), t} }
	if h.Timeout == 0 {
		h.Timeout = defaultTimeout
	}
	if h.Size == (portlayer.Size{}) {
		h.Size = portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 256 << 20}
	}
	ctx, cancel := context.WithTimeout(t.Context(), h.Timeout)
	t.Cleanup(cancel)
	return &tester{T: t, Harness: h, ctx: ctx}
}

// clear leaves the host as it was, before the harness cleans up what it is made of.
func (t *tester) clear() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), t.Timeout)
	defer cancel()
	assert.NoError(t, t.Host.Remove(ctx, podUID))
	assert.NoError(t, t.Host.Forget(ctx, podUID))
}

func (t *tester) owner() portlayer.Owner {
	return portlayer.Owner{Kind: podvm.Kind, UID: podUID, Namespace: "default", Name: "pod", Node: "node", Generation: 1}
}

// draft has all that a pod of one container needs.
func (t *tester) draft() *portlayer.Handle {
	t.Helper()
	h, err := t.Host.New(t.ctx, t.owner())
	require.NoError(t, err)
	h.SetSize(t.Size)
	podvm.SetContainers(h, []string{container})
	h.AddScratch(scratch, 256<<20)
	h.AddImage(imageDisk, t.Image)
	if t.Scope != "" {
		require.NoError(t, h.JoinScope(t.Scope))
	}
	return h
}

func (t *tester) commit() podvm.VM {
	t.Helper()
	vm, err := t.Host.Commit(t.ctx, t.draft())
	require.NoError(t, err)
	return vm
}

// pod is the plan of a pod with one container.
func pod(policy string) wire.Pod {
	return wire.Pod{
		Namespace: "default", Name: "pod", Hostname: "pod", RestartPolicy: policy,
		Containers: []wire.Seed{{Name: container}},
		Volumes:    []wire.Volume{{Name: "config", Kind: wire.VolumeFiles}},
	}
}

// plan is a container that runs a script (see fakeguest.Script).
func plan(script string) wire.Container {
	return wire.Container{
		Name: container, Disks: []string{imageDisk}, Args: fakeguest.Script(script), Env: []string{searchPath},
		WorkingDir: "/",
	}
}

// run takes a pod through all steps.
func (t *tester) run(policy, script string) {
	t.Helper()
	t.commit()
	require.NoError(t, t.Host.Start(t.ctx, podUID))
	ready, err := t.Host.Configure(t.ctx, podUID, pod(policy))
	require.NoError(t, err)
	var want []string
	for _, nic := range t.get().Spec.NICs {
		for _, a := range nic.Addresses {
			want = append(want, a.Addr().String())
		}
	}
	var got []string
	for _, a := range ready.Addresses {
		got = append(got, a.String())
	}
	require.Equal(t, want, got)
	require.NoError(t, t.Host.Run(t.ctx, podUID, plan(script)))
}

func (t *tester) get() podvm.VM {
	t.Helper()
	vm, err := t.Host.Get(t.ctx, podUID)
	require.NoError(t, err)
	return vm
}

// await returns the pod VM once it is as wanted; it looks only when the host says that there is news.
func (t *tester) await(wanted func(podvm.VM) bool) podvm.VM {
	t.Helper()
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	changes := t.Host.Watch(ctx)
	for {
		vm := t.get()
		if wanted(vm) {
			return vm
		}
		if _, ok := <-changes; !ok {
			require.Failf(t, "pod VM is not as wanted", "%+v\nguest: %+v", vm, vm.Guest)
		}
	}
}

// status is what the guest says about the container; the zero value where it says nothing.
func status(vm podvm.VM) wire.ContainerStatus {
	if vm.Guest == nil {
		return wire.ContainerStatus{}
	}
	c, _ := vm.Guest.Container(container)
	return c
}

func running(vm podvm.VM) bool {
	return vm.Current && status(vm).State == wire.ContainerRunning
}

func done(vm podvm.VM) bool {
	return vm.Current && vm.Guest.Phase == wire.PhaseDone && vm.LogsComplete
}

// log returns what Logs delivers.
func (t *tester) log(opts podvm.LogOptions) string {
	t.Helper()
	r, err := t.Host.Logs(t.ctx, podUID, container, opts)
	require.NoError(t, err)
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(b)
}

// awaitLog returns when the current attempt has written text, and nothing else.
func (t *tester) awaitLog(text string) {
	t.Helper()
	require.Eventually(t, func() bool { return t.log(podvm.LogOptions{}) == text }, t.Timeout, logPoll)
}
