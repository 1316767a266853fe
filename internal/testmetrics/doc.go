// Package testmetrics reads, for tests, what a scrape of a registry shows.
package testmetrics
