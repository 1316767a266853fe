// Package controllers has one reconciler for each kind of object in api/v1alpha1. They say what this process serves, and tell
// what became of it; the serving itself is behind the interface Nodes.
package controllers
