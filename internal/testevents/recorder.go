// Package testevents records events of Kubernetes for tests.
package testevents

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
)

// Recorder keeps events. The zero value has none; it is safe for concurrent use.
type Recorder struct {
	mu   sync.Mutex // guards all below
	all  []string
	refs []corev1.ObjectReference
}

// Event implements record.EventRecorder.
func (r *Recorder) Event(object apiruntime.Object, kind, reason, message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, kind+" "+reason+" "+message)
	r.refs = append(r.refs, *object.(*corev1.ObjectReference))
}

// Eventf implements record.EventRecorder.
func (r *Recorder) Eventf(object apiruntime.Object, kind, reason, format string, args ...any) {
	r.Event(object, kind, reason, fmt.Sprintf(format, args...))
}

// AnnotatedEventf implements record.EventRecorder.
//
//nolint:revive // record.EventRecorder has so many
func (r *Recorder) AnnotatedEventf(object apiruntime.Object, _ map[string]string, kind, reason, format string, args ...any) {
	r.Eventf(object, kind, reason, format, args...)
}

// Count is how many events begin like that, with their type and reason first.
func (r *Recorder) Count(prefix string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var c int
	for _, e := range r.all {
		if strings.HasPrefix(e, prefix) {
			c++
		}
	}
	return c
}

// String has all events, one a line.
func (r *Recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.all, "\n")
}

// All returns the events, each with its type and reason first.
func (r *Recorder) All() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// About returns what the events are about, in their order.
func (r *Recorder) About() []corev1.ObjectReference {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.refs)
}
