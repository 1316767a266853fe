// Package controllers has one reconciler for each kind of object in api/v1alpha1. A reconciler has an object served and writes
// what became of it into the object's status. The serving itself is behind the interface Nodes.
package controllers
