// Package listen opens the addresses of the API server: a port on loopback, and, for pods, one more address that need
// not exist yet. Both become one [net.Listener], since the API server takes no more.
//
// It never listens on all addresses.
package listen
