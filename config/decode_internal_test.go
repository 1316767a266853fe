package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sample has a field of each kind that settings have.
type sample struct {
	Text     string                       `json:"text"`
	Flag     bool                         `json:"flag"`
	Number   int32                        `json:"number"`
	Size     resource.Quantity            `json:"size"`
	Time     metav1.Duration              `json:"time"`
	When     metav1.Time                  `json:"when"`
	List     []string                     `json:"list"`
	Pairs    map[string]string            `json:"pairs"`
	Amounts  corev1.ResourceList          `json:"amounts"`
	Taints   *[]corev1.Taint              `json:"taints"`
	Below    *Tags                        `json:"below"`
	Sizes    map[string]resource.Quantity `json:"sizes"`
	Anything any                          `json:"anything"`
	inline   `json:",inline"`
	Hidden   string `json:"-"`
	private  string
}

type inline struct {
	Inner string `json:"inner"`
}

// decodeText decodes YAML into s, and returns what is wrong.
func decodeText(t *testing.T, text string, s *sample) string {
	t.Helper()
	var keys map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(text), &keys))
	p := newProblems("")
	decode(p, keys, s)
	if err := p.all.err(); err != nil {
		return err.Error()
	}
	return ""
}

func TestEveryKindOfValueIsRead(t *testing.T) {
	var s sample
	require.Empty(t, decodeText(t, `
text: a
flag: true
number: 7
size: 1.5Gi
time: 1m30s
when: 2026-01-02T03:04:05Z
list: [a, b]
pairs: {a: b}
amounts: {cpu: 4, memory: 8Gi}
taints: [{key: k, effect: NoSchedule}]
below: {category: c}
sizes: {bytes: 16}
anything: {deep: [1]}
inner: i
`, &s))
	assert.Equal(t, "a", s.Text)
	assert.True(t, s.Flag)
	assert.EqualValues(t, 7, s.Number)
	assert.EqualValues(t, 3<<29, s.Size.Value())
	assert.Equal(t, 90*time.Second, s.Time.Duration)
	assert.Equal(t, 2026, s.When.Year())
	assert.Equal(t, []string{"a", "b"}, s.List)
	assert.Equal(t, map[string]string{"a": "b"}, s.Pairs)
	assert.EqualValues(t, 4, s.Amounts.Cpu().Value())
	assert.Equal(t, corev1.TaintEffectNoSchedule, (*s.Taints)[0].Effect)
	assert.Equal(t, "c", s.Below.Category)
	assert.Contains(t, s.Sizes, "bytes")
	assert.NotNil(t, s.Anything)
	assert.Equal(t, "i", s.Inner)
}

func TestWhatIsNotSaidStaysAsItIs(t *testing.T) {
	s := sample{Text: "default", Number: 7, List: []string{"default"}, Below: &Tags{Category: "default"}}
	require.Empty(t, decodeText(t, "number: 0\ntext: null\nbelow: {}", &s))
	assert.Equal(t, "default", s.Text, "null is as if the key were not there")
	assert.Zero(t, s.Number, "0 is said")
	assert.Equal(t, []string{"default"}, s.List)
	assert.Equal(t, "default", s.Below.Category)
	require.Empty(t, decodeText(t, "list: [own]\ntaints: []", &s))
	assert.Equal(t, []string{"own"}, s.List, "a list takes the place of another")
	require.NotNil(t, s.Taints)
	assert.Empty(t, *s.Taints, "an empty list is not the same as none")
}

func TestEveryValueThatIsWrongIsNamed(t *testing.T) {
	tests := map[string]string{
		"text: [a]":               `text: ["a"] is not text`,
		"flag: 1":                 "flag: 1 is not true or false",
		"number: 1.5":             "number: 1.5 is not a whole number",
		"size: {}":                "size: {}: ",
		"time: 5":                 "time: 5 is not a duration, such as 5m",
		"when: yesterday":         `when: "yesterday": `,
		"list: a":                 "list: want a list",
		"list: [a, {}]":           "list[1]: {} is not text",
		"pairs: [a]":              "pairs: want a map of keys",
		"pairs: {a: [b]}":         `pairs.a: ["b"] is not text`,
		"amounts: {cpu: much}":    `amounts.cpu: "much": `,
		"taints: [{shoe: 9}]":     "taints[0].shoe: unknown key",
		"below: c":                "below: want a map of keys",
		"inline: {}":              "inline: unknown key",
		"hidden: a":               "hidden: unknown key",
		"Text: a":                 "Text: unknown key",
		"private: a":              "private: unknown key",
		"flag: 1\nnumber: a":      `flag: 1 is not true or false; number: "a" is not a whole number`,
		"below: {category: true}": "below.category: true is not text",
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			var s sample
			assert.Contains(t, decodeText(t, text, &s), want)
			assert.Empty(t, s.private+s.Hidden)
		})
	}
}

func TestPathsAreAsUsersWriteThem(t *testing.T) {
	for _, tt := range []struct{ path, field, want string }{
		{"", "dir", "dir"},
		{"vchs", "[2]", "vchs[2]"},
		{"vchs[2]", "vsphere.datastore", "vchs[2].vsphere.datastore"},
		{"vch", "", "vch"},
		{"VirtualContainerHost n: ", "spec", "VirtualContainerHost n: spec"},
	} {
		assert.Equal(t, tt.want, join(tt.path, tt.field))
	}
	require.EqualError(t, Errors{{"dir", "missing"}, {"accel", "warp is none"}}, "dir: missing; accel: warp is none")
	require.EqualError(t, Wrong("dir", assert.AnError), "dir: "+assert.AnError.Error())
}
