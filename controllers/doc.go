// Package controllers has one reconciler for each kind of object in api/v1alpha1. A reconciler asks the interface Nodes to serve an
// object, and writes the result into the object's status.
package controllers
