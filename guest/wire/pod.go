package wire

import (
	"encoding/json"
	"net/netip"
	"time"
)

// Hello is the guest's greeting.
type Hello struct {
	// BootID is the name that a host gave to this boot; empty before. Another one means that the VM was started anew, or is
	// a copy.
	BootID string `json:"bootID,omitempty"`
	// Version is the build of the guest program.
	Version string `json:"version"`
	// Kernel is the kernel's release, as uname -r prints it.
	Kernel string `json:"kernel"`
	// Configured is true when a Pod was applied in this boot.
	Configured bool `json:"configured"`
	// MemoryBytes is what the kernel found.
	MemoryBytes int64 `json:"memoryBytes"`
	CPUs        int   `json:"cpus"`
	// Time is the guest's clock.
	Time time.Time `json:"time,omitzero"`
}

// BootName names the boot of a guest. A name is taken while no Pod was applied; the host gives one to each guest that it does
// not know, so that copies of one VM are told apart. The answer says which name holds.
type BootName struct {
	// ID is 1 to 64 letters, digits and "-".
	ID string `json:"id"`
}

// Pod is what all containers of a pod share. It is applied once a boot; the same Pod again is not a change, another one is
// refused with status 409.
type Pod struct {
	UID        string      `json:"uid"`
	Namespace  string      `json:"namespace"`
	Name       string      `json:"name"`
	Hostname   string      `json:"hostname"`
	Interfaces []Interface `json:"interfaces"`
	DNS        DNS         `json:"dns"`
	// Hosts are lines of /etc/hosts beside the guest's own for localhost.
	Hosts []Host `json:"hosts,omitempty"`
	// ScratchDisk is the serial number of the writable disk for container layers, emptyDir volumes and logs, with "@" and
	// its SCSI target behind where the hypervisor gives disks serial numbers of their own.
	ScratchDisk string   `json:"scratchDisk"`
	Volumes     []Volume `json:"volumes,omitempty"`
	// Containers are all containers of the pod in the order of its spec, with what a former boot left behind.
	Containers []Seed `json:"containers"`
	// RestartPolicy is Always, OnFailure or Never.
	RestartPolicy string `json:"restartPolicy"`
	// Grace is the pod's own grace period, which containers have that the guest ends by itself.
	Grace time.Duration `json:"grace,omitempty"`
	// Deadline is when the pod has been active for long enough: the guest stops it then by itself, with
	// StopReasonDeadline. Zero is never. It alone may be another one when the Pod is applied again.
	Deadline time.Time `json:"deadline,omitzero"`
	// ShareProcesses puts all containers into one process namespace, whose process 1 is the guest's.
	ShareProcesses bool `json:"shareProcesses,omitempty"`
	// Sysctls are kernel parameters that are set before any container runs.
	Sysctls []Sysctl `json:"sysctls,omitempty"`
	// FSGroup owns what volumes hold, and every container is in it.
	FSGroup *int64 `json:"fsGroup,omitempty"`
	// FSGroupOnRootMismatch leaves a VolumeDisk as it is whose top directory is the group's already.
	FSGroupOnRootMismatch bool `json:"fsGroupOnRootMismatch,omitempty"`
	// Time is the host's clock, to which the guest steps its own.
	Time time.Time `json:"time"`
	// Entropy is credited to the guest's random pool before any container runs; at least 32 bytes.
	Entropy []byte `json:"entropy"`
}

// Sysctl is one kernel parameter, such as net.core.somaxconn.
type Sysctl struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Interface is one network interface, found by its hardware address.
type Interface struct {
	MAC string `json:"mac"`
	// Addresses are those that it gets, each with the length of its network's prefix.
	Addresses []netip.Prefix `json:"addresses"`
	// Gateways are the routers of the default routes, at most one for each family of addresses.
	Gateways []netip.Addr `json:"gateways,omitempty"`
	MTU      int          `json:"mtu,omitempty"`
}

// DNS is what /etc/resolv.conf of every container says.
type DNS struct {
	Nameservers []string `json:"nameservers,omitempty"`
	Searches    []string `json:"searches,omitempty"`
	Options     []string `json:"options,omitempty"`
}

// Host is one line of /etc/hosts.
type Host struct {
	IP    string   `json:"ip"`
	Names []string `json:"names"`
}

// VolumeKind says where a volume's data lives.
type VolumeKind string

// The kinds of volume.
const (
	// VolumeScratch is a directory on the scratch disk (emptyDir); it outlives containers and reboots of the VM.
	VolumeScratch VolumeKind = "scratch"
	// VolumeMemory is a tmpfs (emptyDir with medium Memory).
	VolumeMemory VolumeKind = "memory"
	// VolumeFiles holds files that the host delivers with Files, on tmpfs, replaced as a whole and at once.
	VolumeFiles VolumeKind = "files"
	// VolumeDisk is a disk with a life of its own, which other VMs had before and will have (a persistent volume).
	VolumeDisk VolumeKind = "disk"
	// VolumeDevice is such a disk as it is: containers have it as a device.
	VolumeDevice VolumeKind = "device"
)

// Volume is one volume of the pod.
type Volume struct {
	Name string     `json:"name"`
	Kind VolumeKind `json:"kind"`
	// SizeBytes bounds a VolumeMemory; 0 is half of the VM's memory.
	SizeBytes int64 `json:"sizeBytes,omitempty"`
	// Mode is the permission bits, up to 01777, of the directory of a VolumeScratch or VolumeMemory; nil is 0777.
	Mode *uint32 `json:"mode,omitempty"`
	// Disk is the serial number, as Pod.ScratchDisk's, of a VolumeDisk or VolumeDevice. Volumes may share one. A
	// VolumeDisk that is blank gets an ext4 file system; one that holds anything else than such a file system is refused.
	Disk string `json:"disk,omitempty"`
	// ReadOnly has nothing be written to the disk; it is the same for all volumes of a disk.
	ReadOnly bool `json:"readOnly,omitempty"`
}

// Files is the whole content of one VolumeFiles. It replaces what was there in one step, as the kubelet's atomic writer
// does: a reader sees the old files or the new ones (..data is a symbolic link to a directory of its own).
type Files struct {
	Volume string `json:"volume"`
	Files  []File `json:"files"`
}

// File is one file of a volume; Path is relative, has no ".." in it and may have directories.
type File struct {
	Path string `json:"path"`
	Mode uint32 `json:"mode"`
	// User owns the file; nil is root.
	User *int64 `json:"user,omitempty"`
	Data []byte `json:"data"`
}

// Role is what a container is to its pod.
type Role string

// The roles. Init containers and sidecars start in the order of Pod.Containers, each once the one before it has ended
// well or, for a sidecar, has started; then all others start. Sidecars end last, in reverse order.
const (
	RoleApp       Role = ""
	RoleInit      Role = "init"      // runs to its end before the next one starts
	RoleSidecar   Role = "sidecar"   // an init container that is always restarted and runs beside the others
	RoleEphemeral Role = "ephemeral" // came later, is never restarted and keeps no pod running
)

// Seed names a container and what is known of it from before this boot.
type Seed struct {
	Name         string      `json:"name"`
	Role         Role        `json:"role,omitempty"`
	RestartCount int32       `json:"restartCount"`
	Last         *Terminated `json:"last,omitempty"`
	// Final says that the container ended for good before this boot; it is reported as Last and never run.
	Final bool `json:"final,omitempty"`
	// Backoff is the delay that the next restart waits, carried over from the former boot.
	Backoff time.Duration `json:"backoff,omitempty"`
	// NotBefore is when the first start of this boot may happen.
	NotBefore time.Time `json:"notBefore,omitzero"`
}

// Ready is the guest's answer to a Pod: the addresses that it holds.
type Ready struct {
	Addresses []netip.Addr `json:"addresses"`
}

// Container says how to run one container of the pod. The same Container again has no effect. One of another Revision
// takes the place of the former one: what runs is stopped and started anew as its next attempt.
type Container struct {
	Name string `json:"name"`
	// Revision is the host's mark for this content, which the status returns. The guest only compares it.
	Revision string `json:"revision,omitempty"`
	// Ephemeral adds a container that Pod.Containers does not name.
	Ephemeral bool `json:"ephemeral,omitempty"`
	// Target is the container whose process namespace an ephemeral one joins; empty is none.
	Target string `json:"target,omitempty"`
	// RestartPolicy stands in for the pod's where it is not empty; RestartRules come before both.
	RestartPolicy string        `json:"restartPolicy,omitempty"`
	RestartRules  []RestartRule `json:"restartRules,omitempty"`
	// Disks are the serial numbers, as Pod.ScratchDisk's, of the read-only disks below the container's writable layer,
	// topmost first.
	Disks []string `json:"disks"`
	Args  []string `json:"args"`
	// Env is KEY=VALUE, in order.
	Env        []string `json:"env"`
	WorkingDir string   `json:"workingDir"`
	// User is "user[:group]" as in an image, names or numbers, looked up in the image's /etc/passwd and /etc/group; empty is root.
	User      string    `json:"user"`
	TTY       bool      `json:"tty,omitempty"`
	Stdin     bool      `json:"stdin,omitempty"`
	StdinOnce bool      `json:"stdinOnce,omitempty"`
	Mounts    []Mount   `json:"mounts,omitempty"`
	Devices   []Device  `json:"devices,omitempty"`
	Resources Resources `json:"resources"`
	// StopSignal is a name such as SIGTERM, which it is when empty.
	StopSignal             string `json:"stopSignal,omitempty"`
	TerminationMessagePath string `json:"terminationMessagePath,omitempty"`
	// TerminationMessageFromLog takes the log's tail as message where the file is empty and the container failed.
	TerminationMessageFromLog bool `json:"terminationMessageFromLog,omitempty"`
	// ReadOnlyRoot mounts the container's root read-only.
	ReadOnlyRoot bool     `json:"readOnlyRoot,omitempty"`
	Security     Security `json:"security,omitzero"`
	// The probes; nil is none. Until the startup probe has succeeded the other two rest.
	StartupProbe   *Probe `json:"startupProbe,omitempty"`
	LivenessProbe  *Probe `json:"livenessProbe,omitempty"`
	ReadinessProbe *Probe `json:"readinessProbe,omitempty"`
	// PostStart runs when the process has started, and the container counts as running once it ended well; else the
	// container is killed. PreStop runs before the stop signal, within the grace period.
	PostStart *Action `json:"postStart,omitempty"`
	PreStop   *Action `json:"preStop,omitempty"`
}

// RestartRule decides on an exit code: the first one that matches says what follows.
type RestartRule struct {
	// Restart is the action; the only one there is today.
	Restart bool `json:"restart"`
	// ExitCodes match when the code is one of them, or, with NotIn, none of them.
	ExitCodes []int32 `json:"exitCodes"`
	NotIn     bool    `json:"notIn,omitempty"`
}

// Security is what a container's process may do beyond or below the default.
type Security struct {
	// Privileged gives all capabilities, all devices of the VM and an unmasked /proc and /sys.
	Privileged bool `json:"privileged,omitempty"`
	// AddCapabilities and DropCapabilities change the default set; names without "CAP_", or ALL. Adding comes last.
	AddCapabilities  []string `json:"addCapabilities,omitempty"`
	DropCapabilities []string `json:"dropCapabilities,omitempty"`
	NoNewPrivileges  bool     `json:"noNewPrivileges,omitempty"`
	// Groups are further groups of the process. With OnlyGroups those of the image's /etc/group do not count.
	Groups     []int64 `json:"groups,omitempty"`
	OnlyGroups bool    `json:"onlyGroups,omitempty"`
	// Seccomp is a seccomp object of the OCI runtime specification as JSON; empty is unconfined.
	Seccomp json.RawMessage `json:"seccomp,omitempty"`
	// UnmaskedProc leaves out the masked and read-only paths of /proc.
	UnmaskedProc bool `json:"unmaskedProc,omitempty"`
}

// Probe asks a container about its health again and again.
type Probe struct {
	Action           Action        `json:"action"`
	InitialDelay     time.Duration `json:"initialDelay,omitempty"`
	Period           time.Duration `json:"period"`
	Timeout          time.Duration `json:"timeout"`
	SuccessThreshold int32         `json:"successThreshold"`
	FailureThreshold int32         `json:"failureThreshold"`
	// Grace is the grace period of a container that this probe kills; nil is the pod's.
	Grace *time.Duration `json:"grace,omitempty"`
}

// Action is what a probe or hook does: exactly one field is set. Sleep is for hooks only, GRPC for probes only.
type Action struct {
	Exec  []string      `json:"exec,omitempty"`
	HTTP  *HTTPAction   `json:"http,omitempty"`
	TCP   *TCPAction    `json:"tcp,omitempty"`
	GRPC  *GRPCAction   `json:"grpc,omitempty"`
	Sleep time.Duration `json:"sleep,omitempty"`
}

// HTTPAction is a GET whose answer is 200 to 399.
type HTTPAction struct {
	// Scheme is http or https; certificates are not verified, as the kubelet has it.
	Scheme string `json:"scheme"`
	// HTTP2 speaks HTTP/2 where the scheme is http, without asking whether the server does.
	HTTP2 bool `json:"http2,omitempty"`
	// Host is the pod's own address where it is empty.
	Host    string       `json:"host,omitempty"`
	Port    uint16       `json:"port"`
	Path    string       `json:"path"`
	Headers []HTTPHeader `json:"headers,omitempty"`
}

// HTTPHeader is one header of an HTTPAction; a name may come more than once.
type HTTPHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// TCPAction opens a connection.
type TCPAction struct {
	// Host is the pod's own address where it is empty.
	Host string `json:"host,omitempty"`
	Port uint16 `json:"port"`
}

// GRPCAction asks the health service of gRPC.
type GRPCAction struct {
	Port    uint16 `json:"port"`
	Service string `json:"service,omitempty"`
	// TLS is TLS with a certificate that is not verified.
	TLS bool `json:"tls,omitempty"`
}

// Mount puts a volume, or a path in it, into a container.
type Mount struct {
	Volume   string `json:"volume"`
	Path     string `json:"path"`
	SubPath  string `json:"subPath,omitempty"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	// Options are mount options beside that: noexec, nodev, nosuid.
	Options []string `json:"options,omitempty"`
}

// Device puts a VolumeDevice into a container.
type Device struct {
	Volume string `json:"volume"`
	Path   string `json:"path"`
}

// Resources bound a container by its cgroup; zero means no bound of its own.
type Resources struct {
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
	// CPUMilli is the limit in thousandths of a processor.
	CPUMilli int64 `json:"cpuMilli,omitempty"`
	// CPURequestMilli becomes the cgroup's weight.
	CPURequestMilli int64 `json:"cpuRequestMilli,omitempty"`
}

// Stop ends all containers: TERM (or their stop signal), and KILL when Grace is over. It returns at once and can be
// repeated with a shorter grace, which then holds.
type Stop struct {
	Grace time.Duration `json:"grace"`
	// Reason is kept in Snapshot.StopReason, so that it is known after the VM is gone.
	Reason string `json:"reason,omitempty"`
}

// StopReasonDeadline is Snapshot.StopReason of a pod that was active for longer than Pod.Deadline allowed.
const StopReasonDeadline = "DeadlineExceeded"

// StopReasonNodeShutdown is the Stop.Reason of pods that end because what they run on does. It is no end for them: they run
// again when that is back, unless their restart policy is Never.
const StopReasonNodeShutdown = "NodeShutdown"

// Clock steps the guest's clock.
type Clock struct {
	Time time.Time `json:"time"`
}
