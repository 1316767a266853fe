// Package clitest runs commands in tests.
package clitest
