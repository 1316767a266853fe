// Package settingsdoc makes docs/settings.md of the commands' flags and of the comments in package config, so that the page can't
// say anything else than the program does.
package settingsdoc

//go:generate go run ./gen ../../../../docs/settings.md
