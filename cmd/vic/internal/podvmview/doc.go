// Package podvmview is how commands show pod VMs, to people as a table and to scripts as JSON.
package podvmview
