// Command vic-controlplane is a Kubernetes control plane in one process and one directory, and, when it is called
// kubectl, it is kubectl.
//
//	vic-controlplane --dir DIR          run in the foreground; prints "ready URL" once all works
//	vic-controlplane status --dir DIR   who runs there
//	vic-controlplane stop --dir DIR     end it and wait
//
// It does not care whether its parent lives: the next `vic up` finds it by its directory. The exit code is 0 when done,
// 1 when failed and 2 when misused.
package main
