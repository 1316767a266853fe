// Package server answers a host by the paths of package wire. It checks what comes in, bounds it, and turns errors into
// statuses:
//
//	400  the call is not valid           404  there is no such container, volume or log
//	409  it conflicts with what is so    413  it is too large
//	416  a log's offset is beyond its end
//	429  too much runs at once           500  anything else
//
// The body of an error is its text.
package server
