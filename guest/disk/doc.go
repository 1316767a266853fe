// Package disk finds a pod VM's disks by their serial numbers and mounts them: images read-only, the scratch disk,
// which is formatted when it is new, and those of persistent volumes, which are formatted when they are blank and never otherwise. Names such as /dev/sda depend on the order of discovery and are never used to tell
// disks apart.
package disk
