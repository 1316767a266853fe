package cgroup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSettingsOfControlGroups(t *testing.T) {
	g := Group{MemoryBytes: 7, CPUMilli: 500, Tasks: 9}
	assert.Equal(t, []setting{{"memory.max", 7, false}, {"memory.swap.max", 0, true}}, g.settings("memory", true))
	assert.Equal(t, []setting{{"memory.limit_in_bytes", 7, false}, {"memory.memsw.limit_in_bytes", 7, true}}, g.settings("memory", false))
	assert.Equal(t, []setting{{"cpu.weight", 50, false}}, g.settings("cpu", true))
	assert.Equal(t, []setting{{"cpu.shares", 512, false}}, g.settings("cpu", false))
	assert.Equal(t, []setting{{"pids.max", 9, false}}, g.settings("pids", true))
	g = Group{}
	assert.Equal(t, []setting{{"cpu.weight", 1, false}}, g.settings("cpu", true))
	assert.Empty(t, g.settings("memory", true))
	assert.Empty(t, g.settings("pids", false))
}

// plainTree is a directory in the place of control groups: what is written to its files is all that they do.
func plainTree(t *testing.T, own string, dirs ...string) tree {
	t.Helper()
	tr := tree{t.TempDir(), parse(own)}
	for _, dir := range dirs {
		require.NoError(t, os.MkdirAll(filepath.Join(tr.root, dir), 0o750))
		require.NoError(t, os.WriteFile(filepath.Join(tr.root, dir, procsFile), nil, 0o600))
	}
	return tr
}

func (t tree) read(elem ...string) string {
	b, err := os.ReadFile(filepath.Join(append([]string{t.root}, elem...)...))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

var vm = Group{VCH: "/vch", UID: "u-1", MemoryBytes: 1 << 30, CPUMilli: 500, Tasks: 130}

func TestGroupsOfVersion2PassControllersOnFromTheRootToTheVM(t *testing.T) {
	tr := plainTree(t, "0::/init/vic\n", ".", "init", "init/vic")
	require.NoError(t, os.WriteFile(filepath.Join(tr.root, subtreeFile), []byte("cpuset cpu memory pids\n"), 0o600))
	require.NoError(t, tr.join(vm, 42))
	own := ownGroup(vm.VCH, vm.UID)
	all := filepath.Dir(own)
	assert.Equal(t, "cpuset cpu memory pids\n", tr.read(subtreeFile), "what a group passes on is not asked for again")
	for _, dir := range []string{"init", filepath.Join("init", all)} {
		assert.Equal(t, "+pids", tr.read(dir, subtreeFile), "the last of those that were asked for one by one")
	}
	assert.NoFileExists(t, filepath.Join(tr.root, "init", own, subtreeFile), "a group with a process passes nothing on")
	for file, want := range map[string]string{
		"memory.max": "1073741824", "memory.swap.max": "0", "cpu.weight": "50", "pids.max": "130", procsFile: "42",
	} {
		assert.Equal(t, want, tr.read("init", own, file), file)
	}
	assert.Equal(t, strconv.FormatInt(allVMs().cpuWeight(), 10), tr.read("init", all, "cpu.weight"))
	assert.True(t, tr.bounds("0::/init/"+own+"\n", own))
	require.NoError(t, os.WriteFile(filepath.Join(tr.root, "init", own, "memory.max"), []byte("max\n"), 0o600))
	assert.False(t, tr.bounds("0::/init/"+own+"\n", own))
	assert.False(t, tr.bounds("0::/init/vic\n", own), "it is in our own group")
}

func TestGroupsOfVersion1AreBelowOurOwn(t *testing.T) {
	tr := plainTree(t, "4:cpu,cpuacct:/a\n3:memory:/a\n2:pids:/\n1:name=systemd:/a\n0::/\n", "cpu,cpuacct/a", "memory/a", "pids")
	require.NoError(t, tr.join(vm, 42))
	own := ownGroup(vm.VCH, vm.UID)
	assert.Equal(t, "1073741824", tr.read("memory/a", own, "memory.limit_in_bytes"))
	assert.Equal(t, "1073741824", tr.read("memory/a", own, "memory.memsw.limit_in_bytes"))
	assert.Equal(t, "512", tr.read("cpu,cpuacct/a", own, "cpu.shares"))
	assert.Equal(t, "130", tr.read("pids", own, "pids.max"))
	for _, dir := range []string{"memory/a", "cpu,cpuacct/a", "pids"} {
		assert.Equal(t, "42", tr.read(dir, own, procsFile), dir)
	}
	assert.True(t, tr.bounds("3:memory:/a/"+own+"\n", own))
	require.NoError(t, os.WriteFile(filepath.Join(tr.root, "memory/a", own, "memory.limit_in_bytes"), []byte("9223372036854771712\n"), 0o600))
	assert.False(t, tr.bounds("3:memory:/a/"+own+"\n", own))
}

func TestWhatIsMissingIsNamedAndKeepsNothingElseAway(t *testing.T) {
	tr := plainTree(t, "3:memory:/gone\n2:pids:/\n", "pids")
	err := tr.join(vm, 42)
	require.ErrorContains(t, err, "control group for memory: ")
	require.ErrorContains(t, err, "control group for cpu: there are no control groups")
	assert.Equal(t, "42", tr.read("pids", ownGroup(vm.VCH, vm.UID), procsFile))
	assert.False(t, tr.bounds("", "any"))
}

func TestEmptyGroupsAreSweptWhereverTheyWereMade(t *testing.T) {
	dir := t.TempDir()
	name := ownGroup("/vch", "")
	for _, group := range []string{"memory/a/" + name + "/u-1", "memory/b/" + name + "/u-2", "memory/b/vic-other/u-3"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, group), 0o750))
	}
	busy := filepath.Join(dir, "memory/b", name, "u-2", "process") // so that it can't be removed
	require.NoError(t, os.WriteFile(busy, nil, 0o600))
	sweep(dir, name)
	assert.NoDirExists(t, filepath.Join(dir, "memory/a", name))
	assert.FileExists(t, busy)
	assert.DirExists(t, filepath.Join(dir, "memory/b/vic-other/u-3"))
}

func TestTheUnitOfAVMBoundsIt(t *testing.T) {
	got := map[string]any{}
	for _, p := range unitProperties(vm, 42) {
		got[p.Name] = p.Value.Value()
	}
	assert.Equal(t, uint64(1<<30), got["MemoryMax"])
	assert.Equal(t, uint64(0), got["MemorySwapMax"])
	assert.Equal(t, uint64(130), got["TasksMax"])
	assert.Equal(t, uint64(50), got["CPUWeight"])
	assert.True(t, strings.HasSuffix(unitName(vm, 42), "-u-1-42.scope"))
}

// fakeSystemd knows one slice.
type fakeSystemd struct {
	weight any
	set    []systemd.Property
}

func (*fakeSystemd) StartTransientUnitContext(_ context.Context, _, _ string, _ []systemd.Property, done chan<- string) (int, error) {
	done <- unitJobDone
	return 1, nil
}

func (f *fakeSystemd) GetUnitTypePropertyContext(_ context.Context, unit, kind, name string) (*systemd.Property, error) {
	if unit != unitSlice || kind != "Slice" || name != "CPUWeight" {
		return nil, errors.New("unknown")
	}
	p := property(name, f.weight)
	return &p, nil
}

func (f *fakeSystemd) SetUnitPropertiesContext(_ context.Context, name string, runtime bool, properties ...systemd.Property) error {
	if name != unitSlice || !runtime {
		return errors.New("not for this start alone")
	}
	f.set = append(f.set, properties...)
	return nil
}

func TestTheSliceOfAllVMsWeighsAsMuchAsTheHostHasProcessors(t *testing.T) {
	f := &fakeSystemd{weight: uint64(weightNotSet)}
	require.NoError(t, runUnit(t.Context(), f, vm, 42))
	require.NoError(t, weighSlice(t.Context(), f))
	assert.Equal(t, []systemd.Property{property("CPUWeight", uint64(allVMs().cpuWeight()))}, f.set)
	byHand := &fakeSystemd{weight: uint64(300)}
	require.NoError(t, weighSlice(t.Context(), byHand))
	assert.Empty(t, byHand.set, "an administrator's weight stays")
}
