// Package host says which host this program runs on, as a kubelet says it of its own.
//
//	self := host.Read("/")
package host
