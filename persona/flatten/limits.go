package flatten

import "fmt"

// The bounds of Limits where it gives none.
const (
	// DefaultMaxBytes is 64 GiB.
	DefaultMaxBytes = 64 << 30
	// DefaultMaxEntries is a million; see Limits for what they cost.
	DefaultMaxEntries = 1 << 20
	// DefaultMaxDepth is deeper than any tool nests, and shallow enough to walk for every name.
	DefaultMaxDepth = 255
	// DefaultMaxMetadataBytes is 256 MiB.
	DefaultMaxMetadataBytes = 256 << 20
	// DefaultMaxXattrBytes is 4 KiB, about what the disk has room for: it refuses what takes more, whatever the limit.
	DefaultMaxXattrBytes = 4 << 10
)

// The most that Limits can allow.
const (
	// MostEntries keeps the table of inodes below 4 GiB, from where on the ext4 writer would get its size wrong.
	MostEntries = 8 << 20
	// MostDepth is how deep a path of PATH_MAX can get.
	MostDepth = maxPathBytes / 2
)

// Limits bounds what one image may cost. A zero field means its default.
//
// Memory is bounded by Entries and MetadataBytes (MemoryBytes).
type Limits struct {
	// Bytes bounds both the sum of the uncompressed layers and the sum of all file contents in them; the two differ for
	// sparse files.
	Bytes int64
	// Entries bounds the names read from all layers, hidden ones included; at most MostEntries.
	Entries int
	// Depth bounds how many directories lie above a name; at most MostDepth.
	Depth int
	// MetadataBytes bounds the sum of all full paths, link targets and extended attributes.
	MetadataBytes int64
	// XattrBytes bounds the names and values of one file's extended attributes.
	XattrBytes int
}

// WithDefaults returns l with its zero fields filled in, and within what can be allowed.
func (l Limits) WithDefaults() Limits {
	return Limits{
		Bytes:         orDefault(l.Bytes, DefaultMaxBytes),
		Entries:       min(orDefault(l.Entries, DefaultMaxEntries), MostEntries),
		Depth:         min(orDefault(l.Depth, DefaultMaxDepth), MostDepth),
		MetadataBytes: orDefault(l.MetadataBytes, DefaultMaxMetadataBytes),
		XattrBytes:    orDefault(l.XattrBytes, DefaultMaxXattrBytes),
	}
}

const (
	// entryMemory is what one name takes, and metadataMemory how often a byte of metadata is held, at the peak: with what is not
	// yet collected, and the ext4 writer's own tree. BenchmarkAMillionEntries measures them.
	entryMemory    = 800
	metadataMemory = 3
)

// MemoryBytes is about the most memory that an image within l takes.
func (l Limits) MemoryBytes() int64 {
	return int64(l.Entries)*entryMemory + l.MetadataBytes*metadataMemory
}

func orDefault[T int | int64](n, otherwise T) T {
	if n <= 0 {
		return otherwise
	}
	return n
}

// budget is what is left of the limits that hold for all layers together.
type budget struct {
	limits   Limits
	entries  int
	metadata int64
}

func (b *budget) countEntry() error {
	if b.entries++; b.entries > b.limits.Entries {
		return fmt.Errorf("%w: it has more than %d entries", ErrTooLarge, b.limits.Entries)
	}
	return nil
}

func (b *budget) countMetadata(n int) error {
	if b.metadata += int64(n); b.metadata > b.limits.MetadataBytes {
		return fmt.Errorf("%w: its names, links and attributes take more than %d bytes", ErrTooLarge, b.limits.MetadataBytes)
	}
	return nil
}

func (b *budget) countName(n *node) error {
	if int(n.depth) > b.limits.Depth {
		return fmt.Errorf("%w: it nests directories deeper than %d", ErrTooLarge, b.limits.Depth)
	}
	if err := b.countEntry(); err != nil {
		return err
	}
	return b.countMetadata(int(n.pathBytes))
}
