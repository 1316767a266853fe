package channel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/channel"
	"github.com/virtual-kubelet/vic/guest/wire"
)

func blob(t *testing.T, vm string) []byte {
	t.Helper()
	b, err := json.Marshal(wire.Boot{Version: wire.BootVersion, VM: vm, Hosts: []string{"h:1"}, CA: "ca", Token: "token"})
	require.NoError(t, err)
	return b
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, content, 0o644))
}

// withoutBlob is a system that was given none.
func withoutBlob(t *testing.T) channel.BlobFinder {
	t.Helper()
	return channel.BlobFinder{
		Sys: t.TempDir(), Dev: t.TempDir(), Temp: t.TempDir(),
		GuestInfo: func(string) (string, error) { return "", nil },
		MountCD:   func(string, string) (func() error, error) { panic("there is no CD") },
	}
}

func withFirmware(t *testing.T, f *channel.BlobFinder, content []byte) {
	t.Helper()
	write(t, filepath.Join(f.Sys, "firmware/qemu_fw_cfg/by_name/opt/vic/boot/raw"), content)
}

// withCD puts a CD with that label into the second drive; the first one is empty.
func withCD(t *testing.T, f *channel.BlobFinder, label string, content []byte) {
	t.Helper()
	write(t, filepath.Join(f.Sys, "block/sr0/size"), nil)
	write(t, filepath.Join(f.Dev, "sr0"), nil)
	write(t, filepath.Join(f.Sys, "block/sr1/size"), nil)
	disc := bytes.Repeat([]byte(" "), 17*2048)
	copy(disc[16*2048+40:], label)
	write(t, filepath.Join(f.Dev, "sr1"), disc)
	f.MountCD = func(device, target string) (func() error, error) {
		require.Equal(t, filepath.Join(f.Dev, "sr1"), device)
		file := filepath.Join(target, "boot.json")
		write(t, file, content)
		return func() error { return os.Remove(file) }, nil
	}
}

func TestFindTakesTheFirstSource(t *testing.T) {
	f := withoutBlob(t)
	withCD(t, &f, "PODCFG", blob(t, "cd"))
	find := func(want string) {
		t.Helper()
		got, err := f.Find(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, got.VM)
	}
	find("cd")
	left, err := os.ReadDir(f.Temp)
	require.NoError(t, err)
	assert.Empty(t, left, "the CD is unmounted")
	withFirmware(t, &f, blob(t, "firmware"))
	find("firmware")
	f.GuestInfo = func(key string) (string, error) {
		return map[string]string{"guestinfo.vic.boot": string(blob(t, "backdoor"))}[key], nil
	}
	find("backdoor")
}

func TestFindWaits(t *testing.T) {
	f := withoutBlob(t)
	withCD(t, &f, "OTHER", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := f.Find(ctx)
	require.ErrorIs(t, err, channel.ErrNoBlob)
	found := make(chan string)
	go func() {
		b, _ := f.Find(t.Context())
		found <- b.VM
	}()
	withFirmware(t, &f, nil)
	path := filepath.Join(f.Sys, "late")
	write(t, path, blob(t, "late"))
	require.NoError(t, os.Rename(path, filepath.Join(f.Sys, "firmware/qemu_fw_cfg/by_name/opt/vic/boot/raw")))
	require.Equal(t, "late", <-found)
}

func TestFindRefusesABlobThatNobodyCanUse(t *testing.T) {
	for name, tt := range map[string]struct {
		blob string
		says string
	}{
		"another version": {`{"version":2,"vm":"a"}`, "version 2"},
		"no token":        {`{"version":1,"vm":"a","hosts":["h:1"],"ca":"c"}`, "lacks"},
		"no JSON":         {"hello", "invalid"},
		"too large":       {strings.Repeat(" ", wire.MaxBootBytes+1), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			f := withoutBlob(t)
			withFirmware(t, &f, []byte(tt.blob))
			_, err := f.Find(t.Context())
			require.ErrorContains(t, err, tt.says)
		})
	}
	f := withoutBlob(t)
	broken := errors.New("broken")
	f.GuestInfo = func(string) (string, error) { return "", broken }
	_, err := f.Find(t.Context())
	require.ErrorIs(t, err, broken)
}
