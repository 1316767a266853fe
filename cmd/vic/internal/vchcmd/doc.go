// Package vchcmd is the commands vic vch: making, checking, showing and removing virtual container hosts on vSphere, as the file of
// vic node names them.
package vchcmd
