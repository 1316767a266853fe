// Package vmdk writes disks in the stream-optimized form in which vSphere takes them over the network (Virtual Disk Format
// 5.0, VMware): compressed grains one after the other, each behind a marker, tables behind them, and a footer at the end.
// It is written front to back, and what is zero is left out.
package vmdk
