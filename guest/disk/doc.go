// Package disk finds a pod VM's disks by their serial numbers and mounts them: images read-only, the scratch disk, which is
// formatted when it is new, and persistent volumes, which are formatted only when they are blank. Names such as /dev/sda depend
// on the order of discovery and identify nothing.
package disk
