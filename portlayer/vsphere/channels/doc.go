// Package channels is where guests on vSphere dial in: a TLS listener that gives a VM's boot one certificate for the token
// of its boot blob (wire.Boot), and takes the channels that are opened with it.
//
// A join counts only if it agrees with what vCenter says of the VM: it was powered on since the last join, its token is the one
// that was made for this power-on, and the connection comes from the address that it was given. So a blob that somebody has
// read is useless once the guest has joined, a guest joins again after an HA restart, and a certificate belongs to one boot. A client that
// has shown nothing yet costs one of a bounded number of connections and a few KiB, and is cut off after some seconds.
package channels
