package wire

// AllCapabilities is the name of every capability that there is, in the lists of [Security].
const AllCapabilities = "ALL"

// DefaultCapabilities are what a container has that asks for nothing else, without "CAP_": what Kubernetes' container
// runtimes give.
func DefaultCapabilities() []string {
	return []string{
		"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP",
		"SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
	}
}
