// Package guestlink is the host's side of the channel to the guest in a pod VM (see [wire] for what is said on it).
//
// A [Link] lives as long as a VM runs. It dials the VM's byte channel, finds the guest behind whatever a former host left
// in the pipe, and dials again when the channel breaks or the guest falls silent. Meanwhile it does three things: it
// waits for snapshots and hands on the newer ones, it copies the containers' logs, and it carries calls and streams.
//
// Reconnecting compares and never applies anything again. Only callers repeat a call, or the link does within one call when
// the connection broke; the guest then answers without a second effect.
//
// The link trusts nothing that the guest says: it bounds sizes while it reads, and [Check] cuts a snapshot down to what the
// VM's own specification allows before anyone sees it.
package guestlink
