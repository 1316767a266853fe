// Package report is what command vsphereguest and the tests say to each other, in JSON.
package report

// Boot is what a test gives the guest in its blob.
type Boot struct {
	// Server is HOST:PORT to dial. Address is the first interface's, in CIDR form.
	Server, Address, Gateway string
}

// Report is what the guest sees.
type Report struct {
	// Broken are modules that could not be loaded, with the reason.
	Broken []string
	Disks  []Disk
	NICs   []NIC
	CDs    []string
	Boot   string // the blob as it came
	BootID string
	// MemoryKiB and CPUs are what the kernel found.
	MemoryKiB int64
	CPUs      int
}

// Disk is one SCSI disk.
type Disk struct {
	Driver string // of its controller
	Target int    // its SCSI ID
	Bytes  int64
	Head   string // its first bytes, up to the first that is zero
}

// NIC is one interface.
type NIC struct{ Driver, MAC string }
