package vspherevch

import (
	"context"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/controllers"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

func vchOf(s config.VSphere) *node.VCH {
	return &node.VCH{Entry: config.Entry{Name: "pool", VCH: config.VCH{Subnet: "192.0.2.0/24", VSphere: &s}}}
}

// TestEverySettingReachesThePortLayer finds a field of the settings that nobody carries over.
func TestEverySettingReachesThePortLayer(t *testing.T) {
	type made struct {
		config vsphere.Config
		target vsphere.Target
		scope  portlayer.ScopeConfig
	}
	make := func(s config.VSphere) made {
		v := vchOf(s)
		scope, err := scopeOf(&v.VCH)
		require.NoError(t, err)
		scope.Hardware = nil // functions do not compare
		return made{vchConfig(&v.Entry, nil), New().target(v), scope}
	}
	// A Secret is read by others, and the place where guests dial in is opened by Open.
	elsewhere := []string{"CredentialsSecret", "GuestListen"}
	empty := make(config.VSphere{})
	for i := range reflect.TypeFor[config.VSphere]().NumField() {
		name := reflect.TypeFor[config.VSphere]().Field(i).Name
		var s config.VSphere
		switch f := reflect.ValueOf(&s).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString("192.0.2.9")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int32, reflect.Int64:
			f.SetInt(9)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{"192.0.2.9:1"}))
		case reflect.Pointer:
			f.Set(reflect.ValueOf(&config.Tags{Category: "set"}))
		default:
			require.Fail(t, "a field of a new kind", name)
		}
		assert.NotEqual(t, slices.Contains(elsewhere, name), !reflect.DeepEqual(empty, make(s)), name)
	}
}

func TestLimitsAreThoseOfThePortLayer(t *testing.T) {
	v := vchOf(config.VSphere{})
	v.Limits = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("30"),
	}
	cfg := vchConfig(&v.Entry, nil)
	assert.EqualValues(t, 4000, cfg.CPUMilli)
	assert.EqualValues(t, 8<<30, cfg.MemoryBytes)
	assert.EqualValues(t, 30, cfg.MaxPods)
	assert.Equal(t, "pool", cfg.Name)
	cfg = vchConfig(&vchOf(config.VSphere{}).Entry, nil)
	assert.Zero(t, cfg.MaxPods+cfg.CPUMilli+cfg.MemoryBytes, "all that there is")
}

func TestCredentialsOfASecretTakeThePlaceOfFiles(t *testing.T) {
	v := vchOf(config.VSphere{Address: "vcenter.example"})
	v.Credentials = &controllers.Credentials{Username: "u", CA: []byte("ca"), Password: func(context.Context) (string, error) { return "secret", nil }}
	target := New().target(v)
	assert.Equal(t, "u", target.User)
	assert.Equal(t, []byte("ca"), target.CA)
	password, err := target.Password(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "secret", password)
}

func TestPodsHaveAddressesThatAreNobodyElses(t *testing.T) {
	v := vchOf(config.VSphere{Gateway: "192.0.2.1", AdvertiseAddresses: []string{"192.0.2.10:7443", "vic.example:7443"}})
	scope, err := scopeOf(&v.VCH)
	require.NoError(t, err)
	require.Len(t, scope.Reserved, 1, "a name has no address yet")
	assert.Equal(t, "192.0.2.10", scope.Reserved[0].String())
	assert.Equal(t, "00:50:56:00:02:0a", scope.Hardware(scope.Reserved[0]).String())
	v.VSphere.Gateway = "there"
	_, err = scopeOf(&v.VCH)
	require.ErrorContains(t, err, "vsphere.gateway: ")
}

func TestAVCHWithoutAPlaceForItsGuestsIsNotOpened(t *testing.T) {
	s := New()
	require.NoError(t, s.Check())
	_, err := s.Open(t.Context(), vchOf(config.VSphere{}), nil)
	require.ErrorContains(t, err, "guestListen is missing")
	require.ErrorContains(t, s.Listen(t.Context(), node.GuestsAt{Address: "nowhere", Authority: keep}), "guestListen: ")
	require.NoError(t, s.Listen(t.Context(), node.GuestsAt{Address: "127.0.0.1:0", Authority: keep}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.Serve(ctx))
	s.Close()
}

// keep keeps nothing.
func keep(_ context.Context, made func() ([]byte, error)) ([]byte, error) { return made() }
