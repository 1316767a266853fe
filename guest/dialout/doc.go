// Package dialout opens a guest's channel to its host, where the hypervisor has none: it joins with the token of the boot
// blob, which gives this boot a certificate, and then keeps one TLS connection open, on which the host is served as on any
// channel. Keys are made anew in each boot and never leave memory.
package dialout
