// Package volume holds a pod's volumes: directories on the scratch disk, file systems in memory, files that the host
// delivers, and disks that outlive the pod.
//
// A volume of files is replaced as a whole, as the kubelet's atomic writer does it: the files are links through "..data",
// which is a link to a directory with a name of its own, and one rename swaps it. A reader sees all old or all new files.
package volume
