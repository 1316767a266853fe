// Package crun runs containers with the OCI runtime crun, as the shim of a container engine does: it prepares a root
// from image disks and a writable layer, starts crun, keeps the container's standard streams, and waits for its process
// through the one [process.Reaper] of the program.
//
// Each attempt begins with an empty writable layer. Its output goes to its log and to whoever is attached.
package crun
