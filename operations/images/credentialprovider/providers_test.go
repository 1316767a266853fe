package credentialprovider_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/operations/images/credentialprovider"
	"github.com/virtual-kubelet/vic/persona"
)

// config is a configuration whose providers are written in YAML.
func config(providers string) string {
	return "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n" + providers
}

// plugin is a provider's part of a configuration.
func plugin(name, matches string, more ...string) string {
	return fmt.Sprintf("- {name: %s, matchImages: [%s], defaultCacheDuration: 1h, apiVersion: credentialprovider.kubelet.k8s.io/v1%s}\n",
		name, matches, strings.Join(append([]string{""}, more...), ", "))
}

// answer is a response of a program.
func answer(cacheKeyType, more, auth string) string {
	return fmt.Sprintf(`{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse",`+
		`"cacheKeyType":%q%s,"auth":%s}`, cacheKeyType, more, auth)
}

// programs is a directory of programs that note each request in a file and then run a script.
type programs struct{ dir string }

func newPrograms(t *testing.T) programs { t.Helper(); return programs{t.TempDir()} }

func (p programs) add(t *testing.T, name, script string) {
	t.Helper()
	text := fmt.Sprintf("#!/bin/sh\ncat >>%s/%s.requests\necho >>%s/%s.requests\n%s\n", p.dir, name, p.dir, name, script)
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o700))
}

// says adds a program that answers with text.
func (p programs) says(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(p.dir, name+".answer")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	p.add(t, name, "cat "+file)
}

// asked are the images that a program was asked for.
func (p programs) asked(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, name+".requests"))
	if err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
		return nil
	}
	var images []string
	for line := range strings.Lines(string(text)) {
		var request struct{ APIVersion, Kind, Image string }
		require.NoError(t, json.Unmarshal([]byte(line), &request), line)
		assert.Equal(t, "credentialprovider.kubelet.k8s.io/v1", request.APIVersion)
		assert.Equal(t, "CredentialProviderRequest", request.Kind)
		images = append(images, request.Image)
	}
	return images
}

func (p programs) open(t *testing.T, text string) (*credentialprovider.Providers, error) {
	t.Helper()
	file := filepath.Join(p.dir, "config.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return credentialprovider.Open(file, p.dir)
}

func (p programs) mustOpen(t *testing.T, text string) *credentialprovider.Providers {
	t.Helper()
	providers, err := p.open(t, text)
	require.NoError(t, err)
	return providers
}

func TestLookupAsksThePrograms(t *testing.T) {
	p := newPrograms(t)
	p.says(t, "one", answer("Image", "", `{"reg.example":{"username":"a","password":"1"},"reg.example/team":{"username":"b","password":"2"}}`))
	p.says(t, "two", answer("Image", "", `{"*.example":{"username":"c","password":"3"},"reg.example":{"username":"d","password":"4"}}`))
	p.says(t, "other", answer("Image", "", `{"reg.example":{"username":"e","password":"5"}}`))
	providers := p.mustOpen(t, config(plugin("one", "'*.example'")+plugin("two", "other.test, reg.example/team")+plugin("other", "'*.test'")))

	all, err := providers.Lookup(t.Context(), "reg.example/team/app:1")
	require.NoError(t, err)
	assert.Equal(t, []persona.Credentials{
		{Username: "b", Password: "2"}, {Username: "a", Password: "1"}, {Username: "d", Password: "4"}, {Username: "c", Password: "3"},
	}, all, "the longest key first, and under one key the earlier program")
	assert.Equal(t, []string{"reg.example/team/app"}, p.asked(t, "one"), "a program is given neither tag nor digest")
	assert.Empty(t, p.asked(t, "other"))

	none, err := providers.Lookup(t.Context(), "hello")
	require.NoError(t, err)
	assert.Empty(t, none)
	_, err = providers.Lookup(t.Context(), "Not A Name")
	require.ErrorIs(t, err, persona.ErrInvalidName)
}

func TestProgramsGetTheirArgumentsAndEnvironment(t *testing.T) {
	t.Setenv("OUTER", "outer")
	t.Setenv("BOTH", "outer")
	p := newPrograms(t)
	p.add(t, "one", `echo '`+answer("Global", "", `{"docker.io":{"username":"'"$OUTER $BOTH"'","password":"'"$1 $2"'"}}`)+`'`)
	providers := p.mustOpen(t, config(plugin("one", "docker.io", "args: [a, b c]", "env: [{name: BOTH, value: inner}]")))
	all, err := providers.Lookup(t.Context(), "hello")
	require.NoError(t, err)
	assert.Equal(t, []persona.Credentials{{Username: "outer inner", Password: "a b c"}}, all)
	assert.Equal(t, []string{"docker.io/library/hello"}, p.asked(t, "one"))
}

func TestAnswersAreKeptAsTheProgramSays(t *testing.T) {
	auth := `{"reg.example":{"username":"a","password":"1"}}`
	tests := map[string]struct {
		answer string
		after  time.Duration
		image  string
		again  bool
	}{
		"for an image":                     {answer("Image", "", auth), 0, "reg.example/app:2", false},
		"not for another image":            {answer("Image", "", auth), 0, "reg.example/app2", true},
		"for a registry":                   {answer("Registry", "", auth), 0, "reg.example/team/other", false},
		"not for another registry":         {answer("Registry", "", auth), 0, "two.example/app", true},
		"for everything":                   {answer("Global", "", auth), 0, "two.example/app", false},
		"for the default time":             {answer("Image", "", auth), time.Hour - 1, "reg.example/app", false},
		"not for longer":                   {answer("Image", "", auth), time.Hour, "reg.example/app", true},
		"for a time of its own":            {answer("Image", `,"cacheDuration":"2h"`, auth), 2*time.Hour - 1, "reg.example/app", false},
		"not for longer than that":         {answer("Image", `,"cacheDuration":"1m"`, auth), time.Minute, "reg.example/app", true},
		"not at all":                       {answer("Image", `,"cacheDuration":"0s"`, auth), 0, "reg.example/app", true},
		"that there is nothing for images": {answer("Image", "", "null"), 0, "reg.example/app", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPrograms(t)
			p.says(t, "one", tt.answer)
			providers := p.mustOpen(t, config(plugin("one", "'*.example'")))
			synctest.Test(t, func(t *testing.T) {
				first, err := providers.Lookup(t.Context(), "reg.example/app")
				require.NoError(t, err)
				<-time.After(tt.after)
				second, err := providers.Lookup(t.Context(), tt.image)
				require.NoError(t, err)
				if strings.HasPrefix(tt.image, "reg.example") {
					assert.Equal(t, first, second)
				}
			})
			want := 1
			if tt.again {
				want = 2
			}
			assert.Len(t, p.asked(t, "one"), want)
		})
	}
}

func TestOneProgramRunsForAllThatAskAtOnce(t *testing.T) {
	p := newPrograms(t)
	gate := filepath.Join(p.dir, "gate")
	p.add(t, "one", "until [ -e "+gate+" ]; do sleep 0.01; done\necho '"+
		answer("Image", `,"cacheDuration":"0s"`, `{"reg.example":{"username":"a","password":"1"}}`)+"'")
	providers := p.mustOpen(t, config(plugin("one", "reg.example")))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if auth, err := providers.Lookup(t.Context(), "reg.example/app"); assert.NoError(t, err) {
				assert.Len(t, auth, 1)
			}
		})
	}
	require.Eventually(t, func() bool { return len(p.asked(t, "one")) == 1 }, time.Minute, time.Millisecond)
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	all.Wait()
	assert.Less(t, len(p.asked(t, "one")), 8)
}

func TestFewProcessesOfAProgramRunAtATime(t *testing.T) {
	p := newPrograms(t)
	gate, counts := filepath.Join(p.dir, "gate"), filepath.Join(p.dir, "counts")
	p.add(t, "one", "cd "+p.dir+"; touch running.$$; ls running.* | wc -l >>"+counts+"\nuntil [ -e "+gate+" ]; do sleep 0.01; done\n"+
		"rm running.$$; echo '"+answer("Image", "", `{"reg.example":{"username":"a","password":"1"}}`)+"'")
	counted := func() []string {
		text, err := os.ReadFile(counts)
		if err != nil {
			return nil
		}
		return strings.Fields(string(text))
	}
	providers := p.mustOpen(t, config(plugin("one", "reg.example")))
	const few, repositories = 4, 12
	var all sync.WaitGroup
	for i := range repositories {
		all.Go(func() {
			if auth, err := providers.Lookup(t.Context(), fmt.Sprint("reg.example/", i)); assert.NoError(t, err) {
				assert.Len(t, auth, 1)
			}
		})
	}
	require.Eventually(t, func() bool { return len(counted()) >= few }, time.Minute, time.Millisecond)
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	all.Wait()
	require.Len(t, counted(), repositories)
	for _, n := range counted() {
		require.Contains(t, []string{"1", "2", "3", "4"}, n)
	}
}

func TestProgramsThatFailAreNamedAndNotQuoted(t *testing.T) {
	good := answer("Image", "", `{"reg.example":{"username":"good","password":"1"}}`)
	tests := map[string]struct{ script, says string }{
		"it fails":                     {"echo hunter2; echo no login >&2; exit 3", "exit status 3: no login"},
		"it says nothing":              {"true", "not a CredentialProviderResponse"},
		"it says no JSON":              {"echo hunter2", "not a CredentialProviderResponse"},
		"it says more than is known":   {`echo '{"hunter2":1}'`, "not a CredentialProviderResponse"},
		"another version":              {"echo '" + strings.Replace(good, "k8s.io/v1", "k8s.io/v2", 1) + "'", `"credentialprovider.kubelet.k8s.io/v2"`},
		"another kind":                 {"echo '" + strings.Replace(good, "Response", "Request", 1) + "'", `"CredentialProviderRequest"`},
		"an unknown key of the cache":  {"echo '" + strings.Replace(good, `"Image"`, `"Pod"`, 1) + "'", `cacheKeyType of its response is "Pod"`},
		"a key that is not an image's": {"echo '" + strings.Replace(good, `"reg.example"`, `"["`, 1) + "'", `entry "["`},
		"too much":                     {"head -c 2000000 /dev/zero", "more than 1048576 bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPrograms(t)
			p.add(t, "bad", tt.script)
			p.says(t, "good", good)
			providers := p.mustOpen(t, config(plugin("bad", "reg.example")+plugin("good", "reg.example")))
			all, err := providers.Lookup(t.Context(), "reg.example/app")
			require.ErrorContains(t, err, "credential provider bad, image reg.example/app: ")
			require.ErrorContains(t, err, tt.says)
			assert.NotContains(t, err.Error(), "hunter2")
			assert.Equal(t, []persona.Credentials{{Username: "good", Password: "1"}}, all)
		})
	}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	tests := map[string]struct{ text, says string }{
		"no YAML":             {"{", "config.yaml"},
		"an unknown key":      {config(plugin("one", "a.example")) + "more: 1\n", `unknown field "more"`},
		"another version":     {strings.Replace(config(plugin("one", "a.example")), "k8s.io/v1", "k8s.io/v1beta1", 1), "it is kubelet.config.k8s.io/v1beta1"},
		"another kind":        {strings.Replace(config(""), "CredentialProviderConfig", "KubeletConfiguration", 1), "KubeletConfiguration"},
		"no providers":        {config(""), "providers is empty"},
		"a path for a name":   {config(plugin("../one", "a.example")), `providers[0] "../one": name`},
		"no name":             {config(plugin("''", "a.example")), "name"},
		"one name twice":      {config(plugin("one", "a.example") + plugin("one", "b.example")), `providers[1] "one": there is another`},
		"no program":          {config(plugin("two", "a.example")), `providers[0] "two": exec: `},
		"no images":           {config(plugin("one", "")), "matchImages is empty"},
		"a bad image":         {config(plugin("one", "'['")), `matchImages[0] "["`},
		"tokens":              {config(plugin("one", "a.example", "tokenAttributes: {cacheType: Token}")), "tokenAttributes: tokens of service accounts are not supported"},
		"an older protocol":   {config(strings.Replace(plugin("one", "a.example"), "k8s.io/v1", "k8s.io/v1beta1", 1)), "apiVersion"},
		"no time":             {config(strings.Replace(plugin("one", "a.example"), "defaultCacheDuration: 1h, ", "", 1)), "defaultCacheDuration is missing"},
		"a time that is past": {config(strings.Replace(plugin("one", "a.example"), "1h", "-1h", 1)), "defaultCacheDuration -1h0m0s is below zero"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPrograms(t)
			p.says(t, "one", "")
			_, err := p.open(t, tt.text)
			require.ErrorContains(t, err, tt.says)
		})
	}
}

func TestConfigurationMayBeADirectory(t *testing.T) {
	p := newPrograms(t)
	dir := t.TempDir()
	_, err := credentialprovider.Open(dir, p.dir)
	require.ErrorContains(t, err, "no file that ends in .yaml, .yml or .json")
	for i, name := range []string{"b.yaml", "a.yml", "c.json"} {
		program := fmt.Sprintf("p%d", i)
		p.says(t, program, answer("Image", "", fmt.Sprintf(`{"reg.example":{"username":%q,"password":"1"}}`, name)))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(config(plugin(program, "reg.example"))), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README"), []byte("no YAML: {"), 0o600))
	providers, err := credentialprovider.Open(dir, p.dir)
	require.NoError(t, err)
	all, err := providers.Lookup(t.Context(), "reg.example/app")
	require.NoError(t, err)
	var users []string
	for _, c := range all {
		users = append(users, c.Username)
	}
	assert.Equal(t, []string{"a.yml", "b.yaml", "c.json"}, users)
	_, err = credentialprovider.Open(filepath.Join(dir, "none"), p.dir)
	require.ErrorIs(t, err, os.ErrNotExist)
}
