// Package guestlink is the host's side of the channel to the guest in a pod VM (see [wire] for what is said on it).
//
// A [Link] lives as long as a VM runs. It dials the VM's byte channel, finds the guest behind whatever a former host left
// in the pipe, and dials again when the channel breaks or the guest falls silent. Meanwhile it does three things: it
// waits for snapshots and hands on the newer ones, it copies the containers' logs, and it carries calls and streams.
//
// Reconnecting compares and never applies anything again: calls are repeated only by those who made them, or within one
// call when its connection broke, which the guest answers without a second effect.
//
// Nothing that the guest says is trusted: sizes are bounded while they are read, and [Check] cuts a snapshot down to what
// the VM's own specification allows before anyone sees it.
package guestlink
