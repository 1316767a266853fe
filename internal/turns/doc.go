// Package turns lets callers have a key one at a time, and wait for it no longer than they want.
package turns
