package volumes_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/volumes"
)

// objects is what a Resolver reads, in memory.
type objects struct {
	configMaps map[string]*corev1.ConfigMap
	secrets    map[string]*corev1.Secret
	claims     map[string]*corev1.PersistentVolumeClaim
	volumes    map[string]*corev1.PersistentVolume
	err        error
}

func (o *objects) PersistentVolumeClaim(_ context.Context, _, name string) (*corev1.PersistentVolumeClaim, error) {
	return lookUp(o, o.claims, name)
}

func (o *objects) PersistentVolume(_ context.Context, name string) (*corev1.PersistentVolume, error) {
	return lookUp(o, o.volumes, name)
}

func (o *objects) ConfigMap(_ context.Context, _, name string) (*corev1.ConfigMap, error) {
	return lookUp(o, o.configMaps, name)
}

func (o *objects) Secret(_ context.Context, _, name string) (*corev1.Secret, error) {
	return lookUp(o, o.secrets, name)
}

func lookUp[T any](o *objects, all map[string]*T, name string) (*T, error) {
	if o.err != nil {
		return nil, o.err
	}
	if v, ok := all[name]; ok {
		return v, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{}, name)
}

func newObjects() *objects {
	return &objects{
		configMaps: map[string]*corev1.ConfigMap{
			"settings": {
				Data:       map[string]string{"b.conf": "B", "a.conf": "A"},
				BinaryData: map[string][]byte{"bin": {0, 1}},
			},
			"kube-root-ca.crt": {Data: map[string]string{"ca.crt": "PEM"}},
		},
		secrets: map[string]*corev1.Secret{"keys": {Data: map[string][]byte{"k": []byte("v")}}},
	}
}

var pod = &corev1.Pod{
	ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u1", Labels: map[string]string{"app": "web"}},
	Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}},
}

func named(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }

func configMap(s corev1.ConfigMapVolumeSource) corev1.VolumeSource {
	return corev1.VolumeSource{ConfigMap: &s}
}

func projected(mode *int32, sources ...corev1.VolumeProjection) corev1.VolumeSource {
	return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources, DefaultMode: mode}}
}

func files(t *testing.T, r *volumes.Resolver, source corev1.VolumeSource) (wire.Files, time.Time, error) {
	t.Helper()
	return r.Files(t.Context(), pod, &corev1.Volume{Name: "v", VolumeSource: source}, volumes.Inputs{PodIP: "10.1.0.2"})
}

func TestFiles(t *testing.T) {
	tests := map[string]struct {
		source corev1.VolumeSource
		want   []wire.File
	}{
		"a whole config map, in the order of its paths": {
			source: configMap(corev1.ConfigMapVolumeSource{LocalObjectReference: named("settings"), DefaultMode: new(int32(0o400))}),
			want: []wire.File{
				{Path: "a.conf", Mode: 0o400, Data: []byte("A")},
				{Path: "b.conf", Mode: 0o400, Data: []byte("B")},
				{Path: "bin", Mode: 0o400, Data: []byte{0, 1}},
			},
		},
		"items of a config map, with modes of their own": {
			source: configMap(corev1.ConfigMapVolumeSource{LocalObjectReference: named("settings"), Items: []corev1.KeyToPath{
				{Key: "b.conf", Path: "sub/dir/b"}, {Key: "bin", Path: "bin", Mode: new(int32(0o755))},
			}}),
			want: []wire.File{
				{Path: "bin", Mode: 0o755, Data: []byte{0, 1}}, {Path: "sub/dir/b", Mode: 0o644, Data: []byte("B")},
			},
		},
		"a secret": {
			source: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "keys"}},
			want:   []wire.File{{Path: "k", Mode: 0o644, Data: []byte("v")}},
		},
		"an optional secret that is absent is an empty volume": {
			source: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "gone", Optional: new(true)}},
			want:   []wire.File{},
		},
		"an optional key that is absent is left out": {
			source: configMap(corev1.ConfigMapVolumeSource{
				LocalObjectReference: named("settings"), Optional: new(true),
				Items: []corev1.KeyToPath{{Key: "gone", Path: "gone"}, {Key: "a.conf", Path: "a"}},
			}),
			want: []wire.File{{Path: "a", Mode: 0o644, Data: []byte("A")}},
		},
		"fields of the pod": {
			source: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
				{Path: "ip", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}, Mode: new(int32(0o600))},
				{Path: "cpu", ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "c", Resource: "requests.cpu"}},
			}}},
			want: []wire.File{
				{Path: "cpu", Mode: 0o644, Data: []byte("0")},
				{Path: "ip", Mode: 0o600, Data: []byte("10.1.0.2")},
				{Path: "labels", Mode: 0o644, Data: []byte(`app="web"`)},
			},
		},
		"files of a user, and some of another's": {
			source: configMap(corev1.ConfigMapVolumeSource{
				LocalObjectReference: named("settings"), DefaultUser: new(int64(7)),
				Items: []corev1.KeyToPath{{Key: "a.conf", Path: "a"}, {Key: "b.conf", Path: "b", User: new(int64(0))}},
			}),
			want: []wire.File{
				{Path: "a", Mode: 0o644, User: new(int64(7)), Data: []byte("A")}, {Path: "b", Mode: 0o644, User: new(int64(0)), Data: []byte("B")},
			},
		},
		"a secret of a user": {
			source: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "keys", DefaultUser: new(int64(7))}},
			want:   []wire.File{{Path: "k", Mode: 0o644, User: new(int64(7)), Data: []byte("v")}},
		},
		"fields of the pod for users": {
			source: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{DefaultUser: new(int64(7)), Items: []corev1.DownwardAPIVolumeFile{
				{Path: "ip", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}},
				{Path: "name", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}, User: new(int64(8))},
			}}},
			want: []wire.File{
				{Path: "ip", Mode: 0o644, User: new(int64(7)), Data: []byte("10.1.0.2")}, {Path: "name", Mode: 0o644, User: new(int64(8)), Data: []byte("web")},
			},
		},
		"several sources in one, of which the later is the stronger": {
			source: projected(
				new(int32(0o440)),
				corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: named("settings"), Items: []corev1.KeyToPath{
					{Key: "a.conf", Path: "k"}, {Key: "b.conf", Path: "b"},
				}}},
				corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: named("keys")}},
				corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: named("gone"), Optional: new(true)}},
			),
			want: []wire.File{{Path: "b", Mode: 0o440, Data: []byte("B")}, {Path: "k", Mode: 0o440, Data: []byte("v")}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := volumes.New(volumes.Config{Objects: newObjects(), Client: fake.NewClientset()})
			got, refresh, err := files(t, r, tt.source)
			require.NoError(t, err)
			assert.Equal(t, wire.Files{Volume: "v", Files: tt.want}, got)
			assert.Zero(t, refresh)
		})
	}
}

func TestFilesSaysWhatIsMissing(t *testing.T) {
	tests := map[string]struct {
		source corev1.VolumeSource
		want   string
	}{
		"a config map": {
			configMap(corev1.ConfigMapVolumeSource{LocalObjectReference: named("gone")}), `configmap "gone" not found`,
		},
		"a secret": {
			corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "gone"}}, `secret "gone" not found`,
		},
		"a key of a config map": {
			configMap(corev1.ConfigMapVolumeSource{LocalObjectReference: named("settings"), Items: []corev1.KeyToPath{{Key: "gone"}}}),
			"configmap references non-existent config key: gone",
		},
		"a key of a secret": {
			corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "keys", Items: []corev1.KeyToPath{{Key: "gone"}}}},
			"references non-existent secret key: gone",
		},
		"all that is missing in a projected volume": {
			projected(
				nil,
				corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: named("gone")}},
				corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: named("lost")}},
			), "secret \"gone\" not found\nconfigmap \"lost\" not found",
		},
		"a field": {
			corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "p", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.gone"}},
			}}}, "unsupported fieldPath: spec.gone",
		},
		"a source of a file":         {corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{{Path: "p"}}}}, "downward API file p has no source"},
		"a source of a projection":   {projected(nil, corev1.VolumeProjection{}), "unknown source of a projected volume"},
		"a volume of another kind":   {corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, "the volume holds no files of the host"},
		"room for all of it on wire": {projected(nil, corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: named("huge")}}), "its files hold 16777216 bytes, more than the 10485760 that a volume may have"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := newObjects()
			o.secrets["huge"] = &corev1.Secret{Data: map[string][]byte{"k": make([]byte, wire.MaxBodyBytes)}}
			r := volumes.New(volumes.Config{Objects: o, Client: fake.NewClientset()})
			_, _, err := files(t, r, tt.source)
			var mount *volumes.MountError
			require.ErrorAs(t, err, &mount)
			assert.Equal(t, volumes.ReasonFailedMount, mount.Reason)
			assert.Equal(t, `MountVolume.SetUp failed for volume "v" : `+tt.want, mount.Message)
		})
	}
}

func TestAnOptionalObjectThatCannotBeReadIsNoAbsence(t *testing.T) {
	o := newObjects()
	o.err = errors.New("server is down")
	r := volumes.New(volumes.Config{Objects: o, Client: fake.NewClientset()})
	_, _, err := files(t, r, configMap(corev1.ConfigMapVolumeSource{LocalObjectReference: named("settings"), Optional: new(true)}))
	require.ErrorIs(t, err, o.err)
}

func TestACancelledCallIsNoMountError(t *testing.T) {
	o := newObjects()
	o.err = context.Canceled
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := volumes.New(volumes.Config{Objects: o, Client: fake.NewClientset()})
	_, _, err := r.Files(ctx, pod, &corev1.Volume{VolumeSource: configMap(corev1.ConfigMapVolumeSource{})}, volumes.Inputs{})
	require.ErrorIs(t, err, context.Canceled)
	var mount *volumes.MountError
	require.NotErrorAs(t, err, &mount)
}

// issuer is an API server that issues tokens.
type issuer struct {
	now    time.Time
	issued []*authenticationv1.TokenRequest
	err    error
}

func (i *issuer) resolver() *volumes.Resolver {
	client := fake.NewClientset()
	client.PrependReactor("create", "serviceaccounts", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if i.err != nil {
			return true, nil, i.err
		}
		create, _ := a.(clienttesting.CreateActionImpl)
		req, _ := create.Object.(*authenticationv1.TokenRequest)
		req = req.DeepCopy()
		req.Namespace, req.Name = create.Namespace, create.Name
		req.Status.Token = strings.Repeat("t", len(i.issued)+1)
		req.Status.ExpirationTimestamp = metav1.NewTime(i.now.Add(time.Duration(*req.Spec.ExpirationSeconds) * time.Second))
		i.issued = append(i.issued, req)
		return true, req, nil
	})
	return volumes.New(volumes.Config{Objects: newObjects(), Client: client, Now: func() time.Time { return i.now }})
}

// access is what admission gives to every pod.
func access(seconds int64) corev1.VolumeSource {
	return projected(
		new(int32(0o644)),
		corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{ExpirationSeconds: &seconds, Path: "token"}},
		corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: named("kube-root-ca.crt"), Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
		}},
		corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
			{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}},
		}}},
	)
}

func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func TestEveryPodGetsItsAccessToTheAPI(t *testing.T) {
	api := &issuer{now: start()}
	got, refresh, err := files(t, api.resolver(), access(3607))
	require.NoError(t, err)
	assert.Equal(t, []wire.File{
		{Path: "ca.crt", Mode: 0o644, Data: []byte("PEM")},
		{Path: "namespace", Mode: 0o644, Data: []byte("shop")},
		{Path: "token", Mode: 0o644, Data: []byte("t")},
	}, got.Files)
	assert.WithinDuration(t, start().Add(3607*time.Second*8/10), refresh, time.Second)
	require.Len(t, api.issued, 1)
	req := api.issued[0]
	assert.Equal(t, "shop/default", req.Namespace+"/"+req.Name)
	assert.Equal(t, &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: "web", UID: "u1"}, req.Spec.BoundObjectRef)
	assert.Empty(t, req.Spec.Audiences)
}

func TestATokenOfAUserIsTheUsersAlone(t *testing.T) {
	for name, tt := range map[string]struct{ volume, token, want *int64 }{
		"of the volume's user": {new(int64(7)), nil, new(int64(7))},
		"of its own":           {new(int64(7)), new(int64(8)), new(int64(8))},
	} {
		t.Run(name, func(t *testing.T) {
			source := projected(new(int32(0o644)), corev1.VolumeProjection{
				ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t", User: tt.token},
			})
			source.Projected.DefaultUser = tt.volume
			got, _, err := files(t, (&issuer{now: start()}).resolver(), source)
			require.NoError(t, err)
			require.Equal(t, []wire.File{{Path: "t", Mode: 0o600, User: tt.want, Data: []byte("t")}}, got.Files)
		})
	}
}

func token(t *testing.T, r *volumes.Resolver, seconds int64) (string, time.Time) {
	t.Helper()
	got, refresh, err := files(t, r, access(seconds))
	require.NoError(t, err)
	return string(got.Files[2].Data), refresh
}

func TestATokenIsKeptUntilItIsDue(t *testing.T) {
	tests := map[string]struct {
		seconds int64
		due     time.Duration
	}{
		"at four fifths of its life": {3600, 48 * time.Minute},
		"after a day":                {7 * 24 * 3600, 24 * time.Hour},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			api := &issuer{now: start()}
			r := api.resolver()
			first, refresh := token(t, r, tt.seconds)
			assert.Equal(t, start().Add(tt.due), refresh)
			api.now = refresh.Add(-time.Second)
			again, _ := token(t, r, tt.seconds)
			assert.Equal(t, first, again)
			api.now = refresh
			renewed, _ := token(t, r, tt.seconds)
			assert.NotEqual(t, first, renewed)
			assert.Len(t, api.issued, 2)
		})
	}
}

func TestATokenThatCannotBeRenewedHoldsUntilItExpires(t *testing.T) {
	api := &issuer{now: start()}
	r := api.resolver()
	first, _ := token(t, r, 3600)
	api.err, api.now = errors.New("server is down"), start().Add(59*time.Minute)
	held, refresh := token(t, r, 3600)
	assert.Equal(t, first, held)
	assert.Equal(t, api.now.Add(time.Minute), refresh)
	api.now = start().Add(time.Hour)
	_, _, err := files(t, r, access(3600))
	require.ErrorIs(t, err, api.err)
}

func TestForgetDropsAPodsTokens(t *testing.T) {
	api := &issuer{now: start()}
	r := api.resolver()
	token(t, r, 3600)
	r.Forget("another")
	token(t, r, 3600)
	require.Len(t, api.issued, 1)
	r.Forget("u1")
	token(t, r, 3600)
	require.Len(t, api.issued, 2)
}

func TestATokenForAnAudience(t *testing.T) {
	api := &issuer{now: start()}
	_, _, err := files(t, api.resolver(), projected(nil, corev1.VolumeProjection{
		ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: "vault", Path: "t"},
	}))
	require.NoError(t, err)
	require.Equal(t, []string{"vault"}, api.issued[0].Spec.Audiences)
	require.Equal(t, int64(3600), *api.issued[0].Spec.ExpirationSeconds)
}
