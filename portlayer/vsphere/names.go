package vsphere

import (
	"regexp"
	"strings"

	"github.com/virtual-kubelet/vic/portlayer"
)

// maxName is how long a VM's name may be (vSphere API reference, VirtualMachineConfigSpec.name).
const maxName = 80

var (
	badInName = regexp.MustCompile(`[^a-zA-Z0-9._-]+`)
	validUID  = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$`)
)

// vmName is what people see: namespace, name and the beginning of the UID.
func vmName(id portlayer.Identity) string {
	short := id.UID[:min(8, len(id.UID))]
	name := badInName.ReplaceAllString(id.Namespace+"-"+id.Name, "-")
	name = strings.TrimRight(name[:min(len(name), maxName-len(short)-1)], "-.")
	return name + "-" + short
}
