// Package docs holds the documents to what the repository has: links lead somewhere, the README lists every folder, lines are
// not too long to read.
package docs
