package podvmtest

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// Run tests the contract of a host of pod VMs; open returns one without pod VMs.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	t.Helper()
	tests := map[string]func(t *tester){
		"a pod runs to its end and leaves its log":                    podRuns,
		"nothing is there before the commit":                          podDraft,
		"a handle is good for one commit":                             podSpentHandle,
		"a stale handle is refused and its changes can be replayed":   podStaleHandle,
		"every step may be taken twice":                               podTwice,
		"what is missing is not found, or gone already":               podMissing,
		"exec carries input, both outputs and the exit code":          podExec,
		"attach carries input and output to the end of the process":   podAttach,
		"an image joins a VM that runs":                               podHotImage,
		"exec in what does not run is refused":                        podExecRefused,
		"a log is followed to the end of its attempt":                 podFollow,
		"stop ends the containers and its reason is kept":             podStop,
		"a container that fails is started again":                     podRestarts,
		"the next process goes on where the former one stopped":       podReopen,
		"a record stays until the pod is forgotten":                   podRecord,
		"events stay away once they are acknowledged":                 podEvents,
		"an address is free again with its draft or its VM":           podAddress,
		"a VM that was killed leaves what is known for the next boot": podKilled,
		"stats are of what runs":                                      podStats,
		"a start that is given up leaves a VM that can start":         podStartCancelled,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := newTester(t, open)
			defer p.clear()
			test(p)
		})
	}
}

func podRuns(t *tester) {
	t.run("Never", "echo hello; echo oops >&2; exit 3")
	vm := t.await(done)
	c := status(vm)
	require.NotNil(t, c.Current)
	assert.Equal(t, int32(3), c.Current.ExitCode)
	assert.Equal(t, wire.ReasonError, c.Current.Reason)
	assert.True(t, c.Final)
	assert.Zero(t, c.RestartCount)
	assert.Zero(t, vm.SilentSince)
	assert.True(t, vm.Greeted)
	assert.False(t, vm.Booting)

	require.NoError(t, t.Host.PowerOff(t.ctx, podUID))
	assert.Equal(t, portlayer.StateStopped, t.get().State)
	require.NoError(t, t.Host.Remove(t.ctx, podUID))
	vm = t.get()
	assert.Equal(t, portlayer.StateRemoved, vm.State)
	assert.Equal(t, t.owner(), vm.Spec.Owner)
	assert.Equal(t, int32(3), status(vm).Current.ExitCode)
	assert.False(t, vm.Current)
	assert.False(t, vm.Greeted)
	log := t.log(podvm.LogOptions{})
	assert.Contains(t, log, "hello\n")
	assert.Contains(t, log, "oops\n")

	require.NoError(t, t.Host.Forget(t.ctx, podUID))
	_, err := t.Host.Get(t.ctx, podUID)
	require.ErrorIs(t, err, portlayer.ErrNotFound)
}

func podStats(t *tester) {
	_, err := t.Host.Stats(t.ctx, podUID)
	require.ErrorIs(t, err, portlayer.ErrNotFound)
	t.run("Never", "sleep 600")
	t.await(running)
	stats, err := t.Host.Stats(t.ctx, podUID)
	require.NoError(t, err)
	require.Len(t, stats.Containers, 1)
	assert.Equal(t, container, stats.Containers[0].Name)
	u := stats.Containers[0].Usage
	assert.Positive(t, u.CPU)
	assert.Positive(t, u.WorkingSetBytes)
	assert.LessOrEqual(t, u.WorkingSetBytes, u.MemoryBytes)
	assert.Positive(t, u.Processes)
	assert.GreaterOrEqual(t, stats.Pod.CPU, u.CPU)
	assert.Positive(t, stats.Pod.MemoryBytes)
	require.NoError(t, t.Host.PowerOff(t.ctx, podUID))
	_, err = t.Host.Stats(t.ctx, podUID)
	require.ErrorIs(t, err, portlayer.ErrNotRunning)
}

func podDraft(t *tester) {
	h := t.draft()
	vms, err := t.Host.List(t.ctx)
	require.NoError(t, err)
	require.Empty(t, vms)
	t.Host.Discard(h)
	t.Host.Discard(h)
	_, err = t.Host.Commit(t.ctx, h)
	require.ErrorIs(t, err, portlayer.ErrStaleHandle)
}

func podSpentHandle(t *tester) {
	first, second := t.draft(), t.draft()
	vm, err := t.Host.Commit(t.ctx, first)
	require.NoError(t, err)
	_, err = t.Host.Commit(t.ctx, first)
	require.ErrorIs(t, err, portlayer.ErrStaleHandle)
	_, err = t.Host.Commit(t.ctx, second)
	require.Error(t, err)
	t.Host.Discard(first)
	t.Host.Discard(second)
	_, err = t.Host.New(t.ctx, t.owner())
	require.ErrorIs(t, err, portlayer.ErrExists)
	assert.Equal(t, vm.Spec, t.get().Spec)
}

func podStaleHandle(t *tester) {
	t.commit()
	open := func() *portlayer.Handle {
		h, err := t.Host.Open(t.ctx, podUID)
		require.NoError(t, err)
		podvm.SetContainers(h, append(podvm.Containers(h.Spec()), "sidecar"))
		return h
	}
	first, second := open(), open()
	_, err := t.Host.Commit(t.ctx, first)
	require.NoError(t, err)
	_, err = t.Host.Commit(t.ctx, second)
	require.ErrorIs(t, err, portlayer.ErrStaleHandle)
	vm, err := t.Host.Commit(t.ctx, open())
	require.NoError(t, err)
	assert.Equal(t, []string{container, "sidecar", "sidecar"}, podvm.Containers(vm.Spec))
}

func podTwice(t *tester) {
	t.run("Never", "echo once; sleep 60")
	before := t.await(running)
	require.NoError(t, t.Host.Start(t.ctx, podUID))
	_, err := t.Host.Configure(t.ctx, podUID, pod("Never"))
	require.NoError(t, err)
	_, err = t.Host.Configure(t.ctx, podUID, pod("Always"))
	require.Error(t, err, "another pod is refused")
	files := wire.Files{Volume: "config", Files: []wire.File{{Path: "key", Mode: 0o644, Data: []byte("value")}}}
	for range 2 {
		require.NoError(t, t.Host.PutFiles(t.ctx, podUID, files))
		require.NoError(t, t.Host.Run(t.ctx, podUID, plan("echo once; sleep 60")))
	}
	after := t.get()
	assert.Equal(t, before.StartedAt, after.StartedAt)
	assert.Equal(t, status(before).ID, status(after).ID)
	t.awaitLog("once\n")
	for range 2 {
		require.NoError(t, t.Host.Stop(t.ctx, podUID, wire.Stop{}))
	}
	t.await(done)
	for range 2 {
		require.NoError(t, t.Host.PowerOff(t.ctx, podUID))
	}
	for range 2 {
		require.NoError(t, t.Host.Remove(t.ctx, podUID))
	}
	assert.Equal(t, "once\n", t.log(podvm.LogOptions{}))
	for range 2 {
		require.NoError(t, t.Host.Forget(t.ctx, podUID))
	}
}

func podMissing(t *tester) {
	ctx := t.ctx
	_, err := t.Host.Get(ctx, podUID)
	require.ErrorIs(t, err, portlayer.ErrNotFound)
	_, err = t.Host.Open(ctx, podUID)
	require.ErrorIs(t, err, portlayer.ErrNotFound)
	require.ErrorIs(t, t.Host.Start(ctx, podUID), portlayer.ErrNotFound)
	_, err = t.Host.Configure(ctx, podUID, pod("Never"))
	require.ErrorIs(t, err, portlayer.ErrNotFound)
	require.ErrorIs(t, t.Host.Run(ctx, podUID, plan("exit 0")), portlayer.ErrNotFound)
	require.ErrorIs(t, t.Host.Stop(ctx, podUID, wire.Stop{}), portlayer.ErrNotFound)
	_, err = t.Host.Logs(ctx, podUID, container, podvm.LogOptions{})
	require.ErrorIs(t, err, portlayer.ErrNotFound)
	_, err = t.Host.Exec(ctx, podUID, container, wire.Exec{}, podvm.Stdio{})
	require.ErrorIs(t, err, portlayer.ErrNotFound)
	_, err = t.Host.Console(ctx, podUID)
	require.ErrorIs(t, err, portlayer.ErrNotFound)
	require.NoError(t, t.Host.PowerOff(ctx, podUID))
	require.NoError(t, t.Host.Remove(ctx, podUID))

	t.commit()
	require.ErrorIs(t, t.Host.Run(ctx, podUID, plan("exit 0")), portlayer.ErrNotRunning)
	require.Error(t, t.Host.Forget(ctx, podUID), "the VM is there")
	_, err = t.Host.Logs(ctx, podUID, container, podvm.LogOptions{})
	require.ErrorIs(t, err, portlayer.ErrNotFound)
}

func podExec(t *tester) {
	t.run("Never", "sleep 60")
	t.await(running)
	sh := func(script string) wire.Exec { return wire.Exec{Args: plan(script).Args, Stdin: true} }
	var out, errs bytes.Buffer
	streams := podvm.Stdio{Stdin: strings.NewReader("typed\n"), Stdout: &out, Stderr: &errs}
	exit, err := t.Host.Exec(t.ctx, podUID, container, sh("cat; echo wrong >&2; exit 7"), streams)
	require.NoError(t, err)
	assert.Equal(t, int32(7), exit.Code)
	assert.Equal(t, "typed\n", out.String())
	assert.Equal(t, "wrong\n", errs.String())
	for code := range int32(3) {
		exit, err := t.Host.Exec(t.ctx, podUID, container, sh("exit "+string('0'+code)), podvm.Stdio{})
		require.NoError(t, err)
		assert.Equal(t, code, exit.Code)
	}
	exit, err = t.Host.Exec(t.ctx, podUID, container, wire.Exec{Args: []string{"/no/such/command"}}, podvm.Stdio{})
	require.NoError(t, err)
	assert.Contains(t, []int32{126, 127}, exit.Code)
	assert.NotEmpty(t, exit.Error)

	ctx, cancel := context.WithCancel(t.ctx)
	ended := make(chan error, 1)
	// Ends when ctx does.
	go func() {
		_, err := t.Host.Exec(ctx, podUID, container, sh("sleep 60"), podvm.Stdio{})
		ended <- err
	}()
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func podAttach(t *tester) {
	t.commit()
	require.NoError(t, t.Host.Start(t.ctx, podUID))
	_, err := t.Host.Configure(t.ctx, podUID, pod("Never"))
	require.NoError(t, err)
	c := plan("cat; echo bye >&2; exit 4")
	c.Stdin, c.StdinOnce = true, true
	require.NoError(t, t.Host.Run(t.ctx, podUID, c))
	t.await(running)
	var out, errs bytes.Buffer
	streams := podvm.Stdio{Stdin: strings.NewReader("typed\n"), Stdout: &out, Stderr: &errs}
	exit, err := t.Host.Attach(t.ctx, podUID, container, wire.Attach{Stdin: true}, streams)
	require.NoError(t, err)
	assert.Equal(t, int32(4), exit.Code)
	assert.Equal(t, "typed\n", out.String())
	assert.Equal(t, "bye\n", errs.String())
	t.await(done)
	log := t.log(podvm.LogOptions{})
	assert.Contains(t, log, "typed\n")
	assert.Contains(t, log, "bye\n")
}

func podHotImage(t *tester) {
	if !t.Host.Capabilities().HotAddDisk {
		return
	}
	h := t.draft()
	h.RemoveDisk(imageDisk)
	_, err := t.Host.Commit(t.ctx, h)
	require.NoError(t, err)
	require.NoError(t, t.Host.Start(t.ctx, podUID))
	_, err = t.Host.Configure(t.ctx, podUID, pod("Never"))
	require.NoError(t, err)
	h, err = t.Host.Open(t.ctx, podUID)
	require.NoError(t, err)
	h.AddImage(imageDisk, t.Image)
	vm, err := t.Host.Commit(t.ctx, h)
	require.NoError(t, err)
	require.True(t, vm.Current, "it is the same boot")
	require.NoError(t, t.Host.Run(t.ctx, podUID, plan("echo here")))
	t.await(done)
	assert.Equal(t, "here\n", t.log(podvm.LogOptions{}))
}

func podExecRefused(t *tester) {
	t.run("Never", "exit 0")
	_, err := t.Host.Exec(t.ctx, podUID, "other", wire.Exec{Args: []string{"true"}}, podvm.Stdio{})
	require.ErrorIs(t, err, portlayer.ErrNotFound)
	t.await(done)
	_, err = t.Host.Exec(t.ctx, podUID, container, wire.Exec{Args: []string{"true"}}, podvm.Stdio{})
	require.ErrorIs(t, err, portlayer.ErrNotRunning)
	require.NoError(t, t.Host.PowerOff(t.ctx, podUID))
	_, err = t.Host.Exec(t.ctx, podUID, container, wire.Exec{Args: []string{"true"}}, podvm.Stdio{})
	require.ErrorIs(t, err, portlayer.ErrNotRunning)
}

func podFollow(t *tester) {
	t.run("Never", "echo one; sleep 0.3; echo two; sleep 0.3; echo three")
	t.await(func(vm podvm.VM) bool { return running(vm) || done(vm) })
	assert.Equal(t, "one\ntwo\nthree\n", t.log(podvm.LogOptions{Follow: true}))
	t.await(done)
	assert.Equal(t, "two\nthree\n", t.log(podvm.LogOptions{Tail: 2}))
	assert.Equal(t, "one\nt", t.log(podvm.LogOptions{LimitBytes: 5}))
	stamped := t.log(podvm.LogOptions{Timestamps: true, Tail: 1})
	assert.Regexp(t, `^\d{4}-\d\d-\d\dT\S+ three\n$`, stamped)
	_, err := t.Host.Logs(t.ctx, podUID, container, podvm.LogOptions{Previous: true})
	require.ErrorIs(t, err, portlayer.ErrNotFound)
}

func podStop(t *tester) {
	t.run("Always", "echo up; sleep 60")
	t.await(running)
	t.awaitLog("up\n")
	require.NoError(t, t.Host.Stop(t.ctx, podUID, wire.Stop{Reason: "Evicted"}))
	vm := t.await(done)
	c := status(vm)
	require.NotNil(t, c.Current)
	assert.NotZero(t, c.Current.ExitCode)
	assert.Zero(t, c.RestartCount, "a container that was stopped is not started again")
	assert.Equal(t, "Evicted", vm.Guest.StopReason)
}

func podRestarts(t *tester) {
	t.run("OnFailure", "echo again; exit 1")
	vm := t.await(func(vm podvm.VM) bool { return status(vm).RestartCount > 0 && status(vm).Last != nil })
	assert.Equal(t, int32(1), status(vm).Last.ExitCode)
	assert.Equal(t, "again\n", t.log(podvm.LogOptions{Previous: true}))
}
