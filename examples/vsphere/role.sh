#!/usr/bin/env bash
# Gives an account of vCenter the smallest rights with which vic node runs a VCH (docs/vsphere.md). It calls govc as the
# administrator that GOVC_URL, GOVC_USERNAME and GOVC_PASSWORD name. Run it again at any time: it sets roles and permissions to what
# this file says.
#
#   PRINCIPAL=vic@vsphere.local DATACENTER=/DC0 CLUSTER=/DC0/host/C0 POOL=/DC0/host/C0/Resources/vic FOLDER=/DC0/vm/vic \
#     DATASTORE=/DC0/datastore/shared-1 NETWORK=/DC0/network/pods examples/vsphere/role.sh
#
# STORAGE_POLICY=1, TAGS=1 and ANTI_AFFINITY=1 add what these options of the VCH need. VOLUME_DATASTORES names further
# datastores, with spaces between them, that have volumes of the vSphere CSI driver.
set -euo pipefail

for name in PRINCIPAL DATACENTER CLUSTER POOL FOLDER DATASTORE NETWORK; do
	if [ -z "${!name:-}" ]; then
		echo "role.sh: $name is not set" >&2
		exit 2
	fi
done

# role NAME PRIVILEGE... makes the role, or makes it what it should be.
role() {
	local name=$1
	shift
	govc role.create "$name" "$@" 2>/dev/null || govc role.update "$name" "$@"
}

# grant ROLE PROPAGATE PATH
grant() { govc permissions.set -principal "$PRINCIPAL" -role "$1" -propagate="$2" "$3"; }

role vic-folder \
	VirtualMachine.Inventory.Create VirtualMachine.Inventory.Delete \
	VirtualMachine.Config.AddNewDisk VirtualMachine.Config.AddExistingDisk VirtualMachine.Config.RemoveDisk \
	VirtualMachine.Config.AddRemoveDevice VirtualMachine.Config.EditDevice VirtualMachine.Config.AdvancedConfig \
	VirtualMachine.Config.CPUCount VirtualMachine.Config.Memory VirtualMachine.Config.Resource \
	VirtualMachine.Config.Settings VirtualMachine.Config.Annotation VirtualMachine.Config.ManagedBy \
	VirtualMachine.Interact.PowerOn VirtualMachine.Interact.PowerOff VirtualMachine.Interact.SetCDMedia \
	VirtualMachine.Interact.DeviceConnection
role vic-pool Resource.AssignVMToPool VApp.Import
role vic-datastore Datastore.AllocateSpace Datastore.Browse Datastore.FileManagement
role vic-network Network.Assign

grant ReadOnly false "$DATACENTER"
grant vic-folder true "$FOLDER"
grant vic-pool true "$POOL"
grant vic-datastore false "$DATASTORE"
grant vic-network false "$NETWORK"
for store in ${VOLUME_DATASTORES:-}; do
	grant vic-datastore false "$store"
done

# One account has one role on an object: what several options need is one role.
cluster=(System.Anonymous System.Read System.View)
if [ -n "${ANTI_AFFINITY:-}" ]; then
	cluster+=(Host.Inventory.EditCluster)
fi
role vic-cluster "${cluster[@]}"
grant vic-cluster true "$CLUSTER"

inventory=()
if [ -n "${STORAGE_POLICY:-}" ]; then
	inventory+=(StorageProfile.View)
fi
if [ -n "${TAGS:-}" ]; then
	inventory+=(InventoryService.Tagging.AttachTag InventoryService.Tagging.CreateTag InventoryService.Tagging.CreateCategory)
fi
if [ "${#inventory[@]}" -gt 0 ]; then
	role vic-inventory "${inventory[@]}"
	grant vic-inventory true /
fi
