package wire

import "time"

// Version is the protocol's version. A guest refuses a preamble of another one.
const Version uint16 = 1

// Paths of the guest's HTTP server. {container} is the container's name in the pod, {attempt} its restart count.
const (
	PathHello     = "/v1/hello"
	PathBoot      = "/v1/boot" // PUT BootName -> Hello
	PathPod       = "/v1/pod"
	PathFiles     = "/v1/files"                                // PUT Files
	PathContainer = "/v1/containers/{container}"               // PUT Container
	PathExec      = "/v1/containers/{container}/exec"          // POST, upgrades to frames; first frame FrameStart carries Exec
	PathAttach    = "/v1/containers/{container}/attach"        // POST, upgrades to frames; first frame FrameStart carries Attach
	PathLog       = "/v1/containers/{container}/log/{attempt}" // GET ?offset=N: CRI log lines from N until the attempt ends; DELETE ?offset=N: free all before N
	PathSnapshot  = "/v1/snapshot"                             // GET ?boot=ID&after=GENERATION&ack=SEQ
	PathStats     = "/v1/stats"                                // GET: what the containers use now
	PathStop      = "/v1/stop"                                 // POST Stop
	PathPowerOff  = "/v1/poweroff"                             // POST
	PathClock     = "/v1/clock"                                // PUT Clock
	PathDial      = "/v1/dial"                                 // POST ?port=N, upgrades to frames (stdin and stdout are the connection)
)

// HeaderLogOffset of an answer to GET PathLog is the offset at which the answer begins. It is beyond the one asked for
// where that part of the log is no longer there. An answer that ends without its last chunk was overtaken by such a loss:
// the host asks again from where it is. One that ends properly is complete.
const HeaderLogOffset = "Vic-Log-Offset"

// UpgradeProtocol is the value of the Upgrade header of PathExec, PathAttach and PathDial.
const UpgradeProtocol = "vic-frames/1"

// Limits that both sides enforce.
const (
	MaxBodyBytes     = 16 << 20         // a call's JSON body; a pod's volumes of up to 1 MiB each travel one call each
	MaxSnapshotBytes = 1 << 20          // a snapshot as JSON
	MaxFrameBytes    = 64 << 10         // a frame's payload
	MaxContainers    = 256              // in a pod
	MaxEvents        = 256              // kept in a guest until acknowledged
	MaxMessageBytes  = 4096             // a reason's or an event's text, a termination message
	MaxRevisionBytes = 64               // Container.Revision
	MaxLogLineBytes  = 16 << 10         // of a log line before it is split with tag P (as CRI runtimes do)
	MaxLogBytes      = 64 << 20         // of unacknowledged log per container in a guest; the oldest is dropped beyond
	SnapshotWait     = 30 * time.Second // how long GET PathSnapshot waits for a change
	KeepAlive        = 60 * time.Second // yamux keepalive interval
)
