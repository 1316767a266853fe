// Package durable writes files that are whole after a crash of the program or of the host: a reader finds the old content or
// the new one, and what a call has returned for is on the disk.
//
// Every write goes the same way: a temporary file in the same folder, its content and mode synced, then its name, then the
// folder synced. A crash leaves a temporary file at most. Its name begins with a dot, so nothing takes it for a real one,
// and Sweep removes it; one that is still being written is locked, and stays.
package durable
