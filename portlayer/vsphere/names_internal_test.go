package vsphere

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/virtual-kubelet/vic/portlayer"
)

func TestVMName(t *testing.T) {
	tests := map[string]struct {
		owner portlayer.Owner
		want  string
	}{
		"a pod has its namespace, its name and the beginning of its UID": {
			portlayer.Owner{Namespace: "default", Name: "web", UID: "0123456789"}, "default-web-01234567",
		},
		"an owner without namespace has its name": {portlayer.Owner{Name: "box", UID: "u1"}, "box-u1"},
		"what vSphere has no place for is replaced": {
			portlayer.Owner{Namespace: "a/b", Name: "c%d", UID: "u1"}, "a-b-c-d-u1",
		},
		"a long name is cut, its UID is not": {
			portlayer.Owner{Namespace: "n", Name: strings.Repeat("x", 100), UID: "01234567"},
			"n-" + strings.Repeat("x", maxName-len("n-")-len("-01234567")) + "-01234567",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tt.want, vmName(tt.owner))
		})
	}
}
