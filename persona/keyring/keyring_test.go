package keyring_test

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/persona/keyring"
)

func TestLookupMatchesAsTheKubelet(t *testing.T) {
	tests := map[string]struct {
		key, image string
		want       bool
	}{
		"a host":                                 {"reg.example", "reg.example/a/b:1", true},
		"a host with a scheme":                   {"https://reg.example", "reg.example/a", true},
		"a host as docker login writes it":       {"https://reg.example/v1/", "reg.example/a", true},
		"another host":                           {"reg.example", "other.example/a", false},
		"a host that only begins so":             {"reg.example", "reg.example.org/a", false},
		"a port":                                 {"reg.example:5000", "reg.example:5000/a", true},
		"another port":                           {"reg.example:5000", "reg.example:5001/a", false},
		"no port for a port":                     {"reg.example", "reg.example:5000/a", false},
		"a path":                                 {"reg.example/team", "reg.example/team/a", true},
		"a path below /v2/":                      {"reg.example/v2/team", "reg.example/team/a", true},
		"another path":                           {"reg.example/team", "reg.example/others/a", false},
		"a deeper path":                          {"reg.example/team/a", "reg.example/team", false},
		"a glob":                                 {"*.example", "reg.example/a", true},
		"a glob is one label":                    {"*.example", "my.reg.example/a", false},
		"a glob in a label":                      {"reg*.example", "reg7.example/a", true},
		"globs":                                  {"*.reg.*", "my.reg.example/a", true},
		"a glob and a port":                      {"*.example:5000", "reg.example:5000/a", true},
		"Docker Hub by the name of docker login": {"https://index.docker.io/v1/", "hello", true},
		"Docker Hub by the name of its images":   {"docker.io", "hello", true},
		"Docker Hub's official images":           {"docker.io/library", "hello", true},
		"Docker Hub's others":                    {"docker.io/library", "me/hello", false},
		"Docker Hub's key for another":           {"https://index.docker.io/v1/", "reg.example/a", false},
		"an address":                             {"127.0.0.1:5000", "127.0.0.1:5000/a@sha256:" + digest, true},
		"no name":                                {"reg.example", "Not A Name", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var k keyring.Keyring
			require.NoError(t, k.Add(tt.key, persona.Credentials{Username: "me"}))
			assert.Equal(t, tt.want, len(k.Lookup(tt.image)) == 1)
		})
	}
}

const digest = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestLookupReturnsTheBestMatchFirst(t *testing.T) {
	var k keyring.Keyring
	for _, key := range []string{"*.example", "reg.example", "reg.example/team", "reg.example/team/a", "other.example"} {
		require.NoError(t, k.Add(key, persona.Credentials{Username: key}))
	}
	require.NoError(t, k.Add("https://reg.example", persona.Credentials{Username: "second"}))
	var users []string
	for _, c := range k.Lookup("reg.example/team/a:1") {
		users = append(users, c.Username)
	}
	assert.Equal(t, []string{"reg.example/team/a", "reg.example/team", "reg.example", "second", "*.example"}, users)
}

func TestDockerConfigurations(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("me:pass:word"))
	tests := map[string]struct {
		text string
		want persona.Credentials
	}{
		"auth":             {`{"auth":"` + auth + `"}`, persona.Credentials{Username: "me", Password: "pass:word", Holder: "h"}},
		"name and word":    {`{"username":"me","password":"word","email":"x"}`, persona.Credentials{Username: "me", Password: "word", Holder: "h"}},
		"an identity":      {`{"identitytoken":"tok"}`, persona.Credentials{IdentityToken: "tok", Holder: "h"}},
		"a token":          {`{"registrytoken":"tok"}`, persona.Credentials{RegistryToken: "tok", Holder: "h"}},
		"auth and more":    {`{"auth":"` + auth + `","username":"you"}`, persona.Credentials{Username: "me", Password: "pass:word", Holder: "h"}},
		"auth without pad": {`{"auth":"bWU6dw"}`, persona.Credentials{Username: "me", Password: "w", Holder: "h"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var k keyring.Keyring
			require.NoError(t, k.AddConfigJSON(fmt.Appendf(nil, `{"auths":{"reg.example":%s},"credsStore":"x"}`, tt.text), "h"))
			assert.Equal(t, []persona.Credentials{tt.want}, k.Lookup("reg.example/a"))
			k = keyring.Keyring{}
			require.NoError(t, k.AddConfig(fmt.Appendf(nil, `{"reg.example":%s}`, tt.text), "h"))
			assert.Equal(t, []persona.Credentials{tt.want}, k.Lookup("reg.example/a"))
		})
	}
}

func TestBadConfigurationsAreNotQuoted(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"no JSON":           {`hunter2`, "not JSON at byte 1"},
		"half":              {`{"auths":{"reg.example":{"password":"hunter2"`, "not JSON at byte"},
		"a list":            {`{"auths":["hunter2"]}`, "array that does not belong there"},
		"auth of no base64": {`{"auths":{"reg.example":{"auth":"hunter2!"}}}`, `"reg.example": auth is not base64`},
		"auth of no pair":   {`{"auths":{"reg.example":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("hunter2")) + `"}}}`, "not user:password"},
		"no URL":            {`{"auths":{"[.example":{"password":"hunter2"}}}`, "a key is not a host"},
		"no host":           {`{"auths":{"":{"password":"hunter2"}}}`, "a key is not a host"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var k keyring.Keyring
			err := k.AddConfigJSON([]byte(tt.text), "h")
			require.ErrorContains(t, err, tt.want)
			assert.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestCredentialsDoNotPrintThemselves(t *testing.T) {
	c := persona.Credentials{Username: "me", Password: "hunter2", IdentityToken: "hunter2", RegistryToken: "hunter2", Holder: "h"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		assert.NotContains(t, fmt.Sprintf(format, c), "hunter2")
		assert.NotContains(t, fmt.Sprintf(format, []persona.Credentials{c}), "hunter2")
	}
}

func TestMatchesNamesABadKey(t *testing.T) {
	_, err := keyring.Matches("reg.example/[", "reg.example/a")
	require.NoError(t, err, "a path is not a glob")
	_, err = keyring.Matches("[.example", "reg.example/a")
	require.Error(t, err)
	_, err = keyring.Matches("reg.example", "Not A Name")
	require.ErrorIs(t, err, persona.ErrInvalidName)
}

// A secret may have a megabyte. Where the work for an entry grows with the others, this takes hours, and go test ends it.
func TestASecretOfVeryManyEntriesTakesNoLongTime(t *testing.T) {
	var b strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&b, `"r%05d":{},`, i)
	}
	var k keyring.Keyring
	require.NoError(t, k.AddConfigJSON([]byte(`{"auths":{`+b.String()+`"reg.example":{"username":"me"}}}`), "u"))
	require.Len(t, k.Lookup("reg.example/a"), 1)
}

func TestFewOfVeryManyCredentialsAreTried(t *testing.T) {
	var k keyring.Keyring
	for i := range 1000 {
		require.NoError(t, k.Add("reg"+strings.Repeat("*", i)+".example", persona.Credentials{Username: strconv.Itoa(i)}))
	}
	require.NoError(t, k.Add("reg.example/team", persona.Credentials{Username: "best"}))
	found := k.Lookup("reg.example/team/a")
	require.Len(t, found, 16)
	require.Equal(t, "best", found[0].Username)
}

func TestAnErrorNamesFewOfVeryManyBadEntries(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, `"%s[%d":{},`, strings.Repeat("x", 500), i)
	}
	var k keyring.Keyring
	err := k.AddConfig([]byte(`{`+b.String()+`"reg.example":{"username":"me"}}`), "u")
	require.ErrorContains(t, err, "and 997 entries more")
	require.Less(t, len(err.Error()), 1000)
	require.Len(t, k.Lookup("reg.example/a"), 1)
}
