// Package status computes a pod's status from what is observed of its VM and its guest, as a kubelet would report it.
//
// [Build] is a pure function. What was reported before is one of its inputs: a phase that is final stays, a restart
// count never goes down, and a time of transition changes only with what it dates.
package status
