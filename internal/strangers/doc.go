// Package strangers bounds the connections of a listener on which nothing has been shown yet, such as a certificate: everybody
// who reaches its port can open them, and each takes a descriptor.
//
//	l := strangers.Bound(on, strangers.Limits{Unknown: 256, PerUnknown: 32, PerKnown: 512, Source: source, Known: known})
//	conn, err := l.Accept()
//	strangers.Admit(conn) // what it shows suffices
package strangers
