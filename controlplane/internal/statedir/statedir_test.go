package statedir_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/controlplane/internal/statedir"
)

const (
	// holdEnv makes the test binary hold the directory that it names until it is asked to end.
	holdEnv = "STATEDIR_TEST_HOLD"
	// lateEnv is how long it takes to say which process it is.
	lateEnv = "STATEDIR_TEST_LATE"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(holdEnv); dir != "" {
		os.Exit(hold(dir))
	}
	os.Exit(m.Run())
}

func hold(path string) int {
	d, err := statedir.Open(context.Background(), path)
	if err != nil {
		return 1
	}
	if late, err := time.ParseDuration(os.Getenv(lateEnv)); err == nil {
		<-time.After(late)
	}
	if err := d.SaveRecord(statedir.Record{State: statedir.StateReady, Endpoint: "https://127.0.0.1:1"}); err != nil {
		return 1
	}
	select {} // SIGTERM's default action ends it
}

// startHolder returns another process that holds dir.
func startHolder(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	return startHolderIn(t, dir, statedir.StateReady)
}

// startHolderIn returns once the holder shows that state.
func startHolderIn(t *testing.T, dir string, state statedir.State, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), holdEnv+"="+dir), env...)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	require.Eventually(t, func() bool {
		r, err := statedir.Find(dir)
		return err == nil && r.State == state
	}, 10*time.Second, 10*time.Millisecond)
	return cmd
}

func open(t *testing.T, path string) *statedir.Dir {
	t.Helper()
	d, err := statedir.Open(t.Context(), path)
	require.NoError(t, err)
	return d
}

func TestOpenRefusesADirectoryThatIsHeld(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	holder := startHolder(t, dir)

	_, err := statedir.Open(t.Context(), dir)

	require.ErrorIs(t, err, statedir.ErrHeld)
	require.ErrorContains(t, err, dir)
	r, err := statedir.Find(dir)
	require.NoError(t, err)
	assert.Equal(t, holder.Process.Pid, r.PID)
}

func TestAHolderThatWasKilledHoldsNothing(t *testing.T) {
	dir := t.TempDir()
	holder := startHolder(t, dir)
	require.NoError(t, holder.Process.Kill())
	require.Error(t, holder.Wait())

	_, err := statedir.Find(dir)
	require.ErrorIs(t, err, statedir.ErrNotRunning)
	require.NoError(t, open(t, dir).Close())
}

func TestStopEndsTheHolder(t *testing.T) {
	dir := t.TempDir()
	holder := startHolder(t, dir)
	ended := make(chan error, 1)
	go func() { ended <- holder.Wait() }()

	require.NoError(t, statedir.Stop(t.Context(), dir))

	require.Error(t, <-ended, "it was ended by a signal")
	require.ErrorIs(t, statedir.Stop(t.Context(), dir), statedir.ErrNotRunning)
}

func TestStopEndsAHolderThatHasOnlyBegunToStart(t *testing.T) {
	dir := t.TempDir()
	holder := startHolderIn(t, dir, statedir.StateStarting, lateEnv+"=500ms")
	ended := make(chan error, 1)
	go func() { ended <- holder.Wait() }()

	require.NoError(t, statedir.Stop(t.Context(), dir))

	require.Error(t, <-ended, "it was ended by a signal")
}

func TestStopNeverTouchesAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	defer func() { require.NoError(t, d.Close()) }()
	// The record names this process, but with the start time of some other.
	record := `{"pid": 1, "processStart": 1, "state": "ready"}`
	require.NoError(t, os.WriteFile(d.Path("controlplane.json"), []byte(record), 0o600))

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, statedir.Stop(ctx, dir), "only begun to start")
}

func TestStopGivesUpWhenItsTimeEnds(t *testing.T) {
	dir := t.TempDir()
	startHolder(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	require.ErrorIs(t, statedir.Stop(ctx, dir), context.Canceled)
}

func TestFindInADirectoryThatIsNotThere(t *testing.T) {
	_, err := statedir.Find(filepath.Join(t.TempDir(), "missing"))
	require.ErrorIs(t, err, statedir.ErrNotRunning)
}

func TestFindBeforeTheRecordIsWritten(t *testing.T) {
	d := open(t, t.TempDir())
	defer func() { require.NoError(t, d.Close()) }()

	r, err := statedir.Find(d.Path())

	require.NoError(t, err)
	assert.Equal(t, statedir.Record{State: statedir.StateStarting}, r)
}

func TestCloseRemovesTheRecordAndTheLock(t *testing.T) {
	d := open(t, t.TempDir())
	require.NoError(t, d.SaveRecord(statedir.Record{State: statedir.StateReady}))

	require.NoError(t, d.Close())

	assert.NoFileExists(t, d.Path("controlplane.json"))
	require.NoError(t, open(t, d.Path()).Close())
}

func TestSettingsAreKept(t *testing.T) {
	d := open(t, t.TempDir())
	defer func() { require.NoError(t, d.Close()) }()
	s, err := d.Settings()
	require.NoError(t, err)
	assert.Zero(t, s)

	want := statedir.Settings{APIPort: 17000, ServiceCIDR: "10.96.0.0/16"}
	require.NoError(t, d.SaveSettings(want))

	s, err = d.Settings()
	require.NoError(t, err)
	assert.Equal(t, want, s)
}

func TestDamagedSettingsAreAnErrorThatNamesThem(t *testing.T) {
	d := open(t, t.TempDir())
	defer func() { require.NoError(t, d.Close()) }()
	require.NoError(t, os.WriteFile(d.Path("settings.json"), []byte("{"), 0o600))

	_, err := d.Settings()

	require.ErrorContains(t, err, "settings.json")
}

func TestCheckSpace(t *testing.T) {
	d := open(t, t.TempDir())
	defer func() { require.NoError(t, d.Close()) }()

	require.NoError(t, d.CheckSpace(1))
	err := d.CheckSpace(1 << 62)

	var full *statedir.NoSpaceError
	require.ErrorAs(t, err, &full)
	assert.ErrorContains(t, err, "disk full: "+d.Path())
}
