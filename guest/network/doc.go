// Package network gives a pod VM its addresses. Interfaces are found by their hardware address; before an IPv4 address is
// used, a probe as in RFC 5227 asks whether somebody else has it.
package network
