// Package fleet runs several nodes in one process, each by itself: one that can't be opened, or fails, is tried again and
// holds up no other. It knows neither hypervisors nor where the specs of the nodes come from.
package fleet
