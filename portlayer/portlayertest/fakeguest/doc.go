// Package fakeguest is a guest for tests that runs no container: it speaks the protocol of package wire over any byte stream,
// as the guest in a pod VM does, and has the same calls as methods for a host in the same process. What its containers and
// execs do is a script of a few words ([Script]).
//
// It differs from the real guest where a test would wait: a container that is to be started again starts after
// milliseconds. It checks what a host must get right, such as configuring before running.
package fakeguest
