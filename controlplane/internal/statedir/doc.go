// Package statedir is the directory of one control plane: who holds it, what it was made with, and how another process
// finds and stops its holder.
//
// The lock is a flock on controlplane.lock, so the kernel gives it back whatever ends the holder. The lock alone says
// whether a control plane runs. The holder writes who it is into controlplane.json, with the start time of its process,
// so that a record which was left behind is never taken for a process that got the same id later.
//
//	d, err := statedir.Open(ctx, path) // ErrHeld when another process has it
//	if err != nil {
//		return err
//	}
//	defer d.Close()
//	err = d.SaveRecord(statedir.Record{State: statedir.StateStarting})
package statedir
