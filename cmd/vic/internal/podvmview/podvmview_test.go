package podvmview_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/podvmview"
	"github.com/virtual-kubelet/vic/portlayer"
)

func vm(namespace, name string, change func(*portlayer.VM)) portlayer.VM {
	v := portlayer.VM{
		Spec:  portlayer.Spec{Owner: portlayer.Owner{UID: "u-" + name, Namespace: namespace, Name: name}, Size: portlayer.Size{MemoryBytes: 192 << 20}},
		State: portlayer.StateStopped, CreatedAt: time.Now(),
	}
	change(&v)
	return v
}

func TestPodVMsAreSortedAndThoseThatDoNotRunHaveNoProcess(t *testing.T) {
	views := podvmview.All([]portlayer.VM{
		vm("web", "a", func(*portlayer.VM) {}),
		vm("default", "b", func(v *portlayer.VM) {
			v.State, v.PID = portlayer.StateRunning, 42
			v.Spec.NICs = []portlayer.NIC{{}, {Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}}}
		}),
	})
	var out bytes.Buffer
	require.NoError(t, podvmview.Table(&out, views))
	assert.Regexp(t, `^NAMESPACE +NAME +STATE +IP +PID +MEMORY +AGE +UID
default +b +running +10\.0\.0\.2 +42 +192Mi +\d+s +u-b
web +a +stopped +- +192Mi +\d+s +u-a
$`, out.String())
}

func TestScriptsFindAPodVMByTheSameNames(t *testing.T) {
	text, err := json.Marshal(podvmview.Of(vm("n", "p", func(v *portlayer.VM) { v.CreatedAt = time.Time{} })))
	require.NoError(t, err)
	assert.JSONEq(t, `{"name":"p","namespace":"n","uid":"u-p","state":"stopped","ip":"","pid":0,"memoryBytes":201326592,"created":"0001-01-01T00:00:00Z"}`, string(text))
}
