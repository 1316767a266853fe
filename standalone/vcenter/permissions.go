package vcenter

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// needed are the privileges that calls need, of those that can be withheld.
var needed = map[string]string{
	"CreateVM_Task":        "VirtualMachine.Inventory.Create",
	"Destroy_Task":         "VirtualMachine.Inventory.Delete",
	"PowerOnVM_Task":       "VirtualMachine.Interact.PowerOn",
	"PowerOffVM_Task":      "VirtualMachine.Interact.PowerOff",
	"ReconfigVM_Task":      "VirtualMachine.Config.AdvancedConfig",
	"ImportVApp":           "VApp.Import",
	"SearchDatastore_Task": "Datastore.Browse",
}

// WithheldFile is the file that names the privileges which nobody has on the vCenter that has its files in dir, one a line. It is read
// at each call, and need not be there.
func WithheldFile(dir string) string { return filepath.Join(dir, "withheld-privileges") }

// withheld are the privileges that nobody has.
func (v *Server) withheld() []string {
	text, err := os.ReadFile(WithheldFile(v.config.Dir))
	if err != nil {
		return nil // there is none
	}
	return strings.Fields(string(text))
}

// forbids returns the fault of a call for which a privilege is missing; nil of others.
func (v *Server) forbids(method *simulator.Method) types.BaseMethodFault {
	privilege, ok := needed[method.Name]
	if !ok || !slices.Contains(v.withheld(), privilege) {
		return nil
	}
	return &types.NoPermission{Object: &method.This, PrivilegeId: privilege}
}

// permissions is the simulator's authorization manager, that grants what is not withheld.
type permissions struct {
	*simulator.AuthorizationManager
	v *Server
}

func (v *Server) addPermissions(registry *simulator.Registry) {
	ref := *v.model.ServiceContent.AuthorizationManager
	if manager, ok := registry.Get(ref).(*simulator.AuthorizationManager); ok {
		registry.Put(&permissions{manager, v})
	}
}

// HasUserPrivilegeOnEntities is the call of that name.
func (p *permissions) HasUserPrivilegeOnEntities(req *types.HasUserPrivilegeOnEntities) soap.HasFault {
	body, ok := p.AuthorizationManager.HasUserPrivilegeOnEntities(req).(*methods.HasUserPrivilegeOnEntitiesBody)
	if !ok || body.Res == nil {
		return body
	}
	withheld := p.v.withheld()
	for _, entity := range body.Res.Returnval {
		for i := range entity.PrivAvailability {
			privilege := &entity.PrivAvailability[i]
			privilege.IsGranted = !slices.Contains(withheld, privilege.PrivId)
		}
	}
	return body
}
