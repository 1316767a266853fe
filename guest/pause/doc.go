// Package pause is process 1 of a process namespace that the containers of a pod share, as the pause container is
// elsewhere: it keeps the namespace while containers come and go, and what they leave behind is reaped below it.
//
// It is the guest's own program under another name, in a container with nothing else in it.
package pause
