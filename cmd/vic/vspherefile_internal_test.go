package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const vsphereNode = `
nodeName: pool
subnet: 192.0.2.0/24
vsphere:
  address: vcenter.example
  user: vic
  passwordFile: /p
  bootISO: "[store] vic/boot.iso"
  network: pods
  gateway: 192.0.2.1
  guestListen: :7443
  advertiseAddresses: ["192.0.2.10:7443"]
`

func TestVSphereFile(t *testing.T) {
	tests := map[string]struct{ instead, of, says string }{
		"without an address":             {"", "address: .*", "vsphere.address is missing"},
		"without a user":                 {"", "user: .*", "vsphere.user is missing"},
		"without a password":             {"", "passwordFile: .*", "vsphere.passwordFile is missing"},
		"without an ISO":                 {"", "bootISO: .*", "vsphere.bootISO is missing"},
		"without a network":              {"", "network: .*", "vsphere.network is missing"},
		"without a place to dial in":     {"", "guestListen: .*", "vsphere.guestListen is missing"},
		"without an address to dial":     {"", "advertiseAddresses: .*", "vsphere.advertiseAddresses is missing"},
		"without a subnet":               {"", "subnet: .*", "subnet is missing"},
		"with an unknown key":            {"password: secret", "user: .*", "password"},
		"with a bad place to dial in":    {"guestListen: here", "guestListen: .*", "vsphere.guestListen"},
		"with a bad address to dial":     {`advertiseAddresses: [":7443"]`, "advertiseAddresses: .*", "vsphere.advertiseAddresses"},
		"with a bad gateway":             {"gateway: there", "gateway: .*", "vsphere.gateway"},
		"with a gateway from elsewhere":  {"gateway: 198.51.100.1", "gateway: .*", "outside"},
		"with a range without addresses": {"firstAddress: 192.0.2.9\n  lastAddress: 192.0.2.8", "gateway: .*", "no room"},
		"with tags of no category":       {"tags: {}\n  gateway: 192.0.2.1", "gateway: .*", "vsphere.tags.category is missing"},
		"with processors that run back":  {"mhzPerCore: -1\n  gateway: 192.0.2.1", "gateway: .*", "vsphere.mhzPerCore"},
		"with two ways to trust":         {"insecure: true\n  caFile: /c", "gateway: .*", "only one"},
	}
	read := func(t *testing.T, text string) (*nodeFile, error) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "node.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return readNodeFile(path)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := read(t, regexp.MustCompile(`\b`+tt.of).ReplaceAllString(vsphereNode, tt.instead))
			var misuse *usageError
			require.ErrorAs(t, err, &misuse)
			require.ErrorContains(t, err, tt.says)
		})
	}
	f, err := read(t, vsphereNode+"  storagePolicy: gold\n  memoryReservation: true\n  antiAffinity: true\n  tags: {category: pods}\n  mhzPerCore: 2000\n")
	require.NoError(t, err)
	assert.Equal(t, "pool", f.VSphere.config(f.NodeName, nil).Name)
	cfg := f.VSphere.config(f.NodeName, nil)
	assert.Equal(t, "gold", cfg.StoragePolicy)
	assert.True(t, cfg.ReserveMemory)
	assert.True(t, cfg.AntiAffinity)
	assert.EqualValues(t, 2000, cfg.MHzPerCore)
	assert.Equal(t, "pods", cfg.TagCategory)
	subnet, err := f.subnet()
	require.NoError(t, err)
	scope, err := f.VSphere.scope(subnet)
	require.NoError(t, err)
	assert.Equal(t, "00:50:56:00:02:0a", scope.Hardware(subnet.Addr().Next().Next().Next().Next().Next().Next().Next().Next().Next().Next()).String())
}

func TestVCHCommandsNeedAVSphereSection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(path, []byte("nodeName: n\n"), 0o600))
	for _, args := range [][]string{{"vch", "check"}, {"vch", "create", "--config", path}, {"vch", "rm", "--config", path}} {
		_, err := execute(t, args...)
		var misuse *usageError
		require.ErrorAs(t, err, &misuse, args)
	}
}
