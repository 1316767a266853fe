package hostile

// Mode is a way to misbehave.
type Mode string

// The modes. Those that answer HTTP calls greet as a guest of ours does and go wrong later.
const (
	Honest     Mode = "honest"
	Noise      Mode = "noise"      // no echo of the preamble but bytes without end
	Deaf       Mode = "deaf"       // the port is never read after the preamble
	Frames     Mode = "frames"     // frames of the multiplexer without end, for streams that nobody opened
	Streams    Mode = "streams"    // 100,000 streams are opened, and more
	Pings      Mode = "pings"      // pings without end
	Garbage    Mode = "garbage"    // the greeting is not JSON, and endless
	Headers    Mode = "headers"    // the header of an answer does not end
	Slow       Mode = "slow"       // an answer comes a byte at a time
	Giant      Mode = "giant"      // a snapshot does not end
	Many       Mode = "many"       // lists of more items than there can be, each of them three bytes long
	Impossible Mode = "impossible" // snapshots of states that cannot be
	Events     Mode = "events"     // snapshots at once, each with as many and as long events as may be
	Attempts   Mode = "attempts"   // a container that claims to have been started anew with every snapshot, with a log each
	Restless   Mode = "restless"   // snapshots at once, in which every container becomes ready or unready
	Texts      Mode = "texts"      // snapshots whose texts are as long as may be, of characters that take six bytes in JSON
	Offsets    Mode = "offsets"    // logs that claim to begin anywhere
	Logs       Mode = "logs"       // a log without end
	Lines      Mode = "lines"      // a log that is one line without end
	Refusals   Mode = "refusals"   // every call is refused, with a text without end
	Console    Mode = "console"    // the console without end; that is the VM's part

)

// Modes are those in which a guest goes on, and so may be had one after the other.
func Modes() []Mode {
	return []Mode{
		Noise, Deaf, Frames, Streams, Pings, Garbage, Headers, Slow, Giant, Many, Impossible, Events, Attempts, Restless,
		Texts, Offsets, Logs, Lines, Refusals, Console,
	}
}
