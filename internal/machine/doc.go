// Package machine tells which machine this program runs on, as a kubelet tells it of its own.
//
//	self := machine.Read("/")
package machine
