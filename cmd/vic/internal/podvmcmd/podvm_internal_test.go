package podvmcmd

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
)

func podVMOf(namespace, name, uid string) portlayer.VM {
	return portlayer.VM{Spec: portlayer.Spec{ID: uid, Owner: portlayer.Owner{Kind: "Pod", UID: uid, Namespace: namespace, Name: name}}}
}

func TestChoosePodVM(t *testing.T) {
	vms := []portlayer.VM{
		podVMOf("default", "web", "uid-1"), podVMOf("other", "web", "uid-2"), podVMOf("default", "db", "uid-3"),
		podVMOf("default", "twin", "uid-4"), podVMOf("default", "twin", "uid-5"),
	}
	tests := map[string]struct{ name, uid, says string }{
		"by UID":                         {"uid-2", "uid-2", ""},
		"by a name that only one has":    {"db", "uid-3", ""},
		"by namespace and name":          {"other/web", "uid-2", ""},
		"a name that several have":       {"web", "", "default/web uid-1, other/web uid-2"},
		"a pod that was made anew":       {"default/twin", "", "default/twin uid-4, default/twin uid-5"},
		"a name that none has":           {"none", "", `no pod VM "none"`},
		"a namespace that does not fit":  {"other/db", "", `no pod VM "other/db"`},
		"an empty name":                  {"", "", `no pod VM ""`},
		"a path instead of a name":       {"../../etc", "", "no pod VM"},
		"a namespace without a pod name": {"default/", "", "no pod VM"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			vm, err := choosePodVM(vms, tt.name)
			if tt.says != "" {
				require.ErrorContains(t, err, tt.says)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.uid, vm.ID())
		})
	}
}

func TestLastLines(t *testing.T) {
	const text = "one\ntwo\nthree\n"
	tests := map[string]struct {
		text string
		n    int
		want string
	}{
		"all":                         {text, -1, text},
		"none":                        {text, 0, ""},
		"one":                         {text, 1, "three\n"},
		"two":                         {text, 2, "two\nthree\n"},
		"as many as there are":        {text, 3, text},
		"more than there are":         {text, 9, text},
		"one that has not ended":      {"one\ntwo", 1, "two"},
		"none of one that runs":       {"one\ntwo", 0, ""},
		"of nothing":                  {"", 3, ""},
		"empty ones":                  {"\n\n\n", 2, "\n\n"},
		"one of many empty ones":      {strings.Repeat("\n", 5), 1, "\n"},
		"of a line without a newline": {"one", 1, "one"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tt.want, string(lastLines([]byte(tt.text), tt.n)))
		})
	}
}
