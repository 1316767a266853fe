// Package wire is what a host and the guest in a pod VM say to each other.
//
// The carrier is any byte stream: a virtio-serial port, a TLS connection. Such a stream may lose bytes when the host's
// end changes hands, and may not show that it did. So each host connection begins with a preamble ([Preamble]): a magic
// word, the protocol's version and sixteen random bytes. The guest looks for it at any time, drops the session it had,
// and echoes it; both sides discard everything before it. From then on the host masks what it sends with those random
// bytes, so that nothing which a user pipes through the session can look like a preamble.
//
// Above the preamble runs yamux (the host opens every stream, the guest accepts) and on each stream HTTP/1.1, with the
// paths of this package. Calls carry JSON; exec, attach and dial upgrade their connection (see [Frame]).
//
// A host drives a guest in steps, each of which may be repeated without a second effect:
//
//	GET  PathHello       -> Hello       who is there, since which boot
//	PUT  PathBoot        BootName -> Hello  the name of this boot, which a pod that was applied keeps
//	PUT  PathPod         Pod -> Ready   network, scratch disk, volumes; every container is named, none runs
//	PUT  PathFiles       Files          content of one volume of kind [VolumeFiles]
//	PUT  PathContainer   Container      run it now and as its restart policy says
//	GET  PathSnapshot    -> Snapshot    waits for a change; complete in itself, the latest generation wins
//	GET  PathStats       -> Stats       what the containers use now
//	POST PathStop        Stop           end all containers within a grace period
//	POST PathPowerOff                   sync and power off
//
// Neither side trusts the other's sizes: every body, frame and list has a bound in this package. The package knows no
// Kubernetes and no hypervisor.
package wire
