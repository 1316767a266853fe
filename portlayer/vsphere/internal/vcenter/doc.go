// Package vcenter is what the rooms of this hypervisor share in speaking to vCenter, or to an ESXi host by itself: its faults in
// the port layer's kinds, directories of datastores, and answers that govmomi has no one call for. It knows no VCH and no VM.
package vcenter
