// Package changes says to several readers which of many things may have changed, by name. A change is a reason to look, not
// what was seen: a reader that is slow gets each name once, however often it changed, and loses none. Notifying never
// blocks.
//
//	var hub changes.Hub
//	for name := range hub.Watch(ctx) { look(name) }
package changes
