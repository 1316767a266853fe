// Package steps has what a level-driven loop is made of.
package steps
