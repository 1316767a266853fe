package persona

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestADocumentOfVeryManyValuesIsNotDecoded(t *testing.T) {
	many := strings.Repeat(`"",`, maxValues+1) + `""`
	l := &loader{platform: v1.Platform{OS: "linux", Architecture: "amd64"}, limits: Limits{}.withDefaults()}
	_, err := l.parseConfig([]byte(`{"rootfs":{"diff_ids":[`+many+`]}}`), 0)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = l.load(t.Context(), []byte(`{"schemaVersion":2,"layers":[`+many+`]}`))
	require.ErrorIs(t, err, ErrTooLarge)
	_, _, err = l.loadDockerSave(t.Context(), nil, []byte(`[`+many+`]`), nil)
	require.ErrorIs(t, err, ErrTooLarge)
	require.ErrorContains(t, err, "manifest.json of more than")
}

func TestWhatIsKeptOfAConfigurationIsBounded(t *testing.T) {
	l := &loader{platform: v1.Platform{OS: "linux", Architecture: "amd64"}}
	long := strings.Repeat("x", maxRunBytes)
	for name, field := range map[string]string{
		"a long variable":    `"Env":["A=` + long + `"]`,
		"many arguments":     `"Cmd":[` + strings.Repeat(`"",`, maxRunBytes/stringBytes) + `""]`,
		"a long entry point": `"Entrypoint":["` + long + `"]`,
		"a long user":        `"User":"` + long + `x"`,
		"a long directory":   `"WorkingDir":"` + long + `x"`,
		"a long port":        `"ExposedPorts":{"` + long + `":{}}`,
		"a long volume":      `"Volumes":{"` + long + `":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := l.parseConfig([]byte(`{"config":{`+field+`}}`), 0)
			require.ErrorIs(t, err, ErrTooLarge)
		})
	}
	config, err := l.parseConfig([]byte(`{"config":{"Cmd":["sh"],"Labels":{"a":"b"}}}`), 0)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "b"}, configOf(&config.Config).Labels)
	config, err = l.parseConfig([]byte(`{"config":{"Cmd":["sh"],"Labels":{"a":"`+long+`"}}}`), 0)
	require.NoError(t, err, "an image runs without its labels")
	require.Empty(t, configOf(&config.Config).Labels)
	require.Equal(t, []string{"sh"}, configOf(&config.Config).Cmd)
}

func TestAnImagesNamesAndHoldersDoNotGrowForEver(t *testing.T) {
	var images []Image
	for i := range 3 * maxNames {
		name := fmt.Sprintf("r.example/x:%d", i)
		digest := fmt.Sprintf("r.example/x@sha256:%064x", i)
		images, _ = enter(images, Image{Digest: "sha256:0"}, naming{tags: []string{name}, digests: []string{digest}, holder: strconv.Itoa(i)})
		require.True(t, images[0].MayUse(name, []string{strconv.Itoa(i)}), "the latest is never forgotten")
		require.True(t, images[0].has(digest))
	}
	require.Len(t, images, 1)
	assert.Len(t, images[0].Names, maxNames)
	assert.Len(t, images[0].RepoDigests, maxNames)
	assert.Len(t, images[0].Grants["r.example/x"].Holders, maxNames)
}

func TestAnErrorQuotesTheBeginningOfALongName(t *testing.T) {
	_, err := NormalizeName(strings.Repeat("x ", 100_000))
	require.ErrorIs(t, err, ErrInvalidName)
	require.Less(t, len(err.Error()), 1000)
}
