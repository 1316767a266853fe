package flatten

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Offsets in an ext4 file system of 4 KiB blocks, 256 byte inodes and 32 byte group descriptors, which is what the writer
// makes (Linux, Documentation/filesystems/ext4).
const (
	superOffset         = 1024
	superFreeBlocks     = 12
	superFreeInodes     = 16
	superBlocksPerGroup = 32
	superInodesCount    = 0
	superInodesPerGroup = 40
	superLostFound      = 0x268

	groupsOffset      = blockBytes
	groupBytes        = 32
	groupBlockBitmap  = 0
	groupInodeBitmap  = 4
	groupInodeTable   = 8
	groupFreeBlocks   = 12
	groupFreeInodes   = 14
	groupDirs         = 16
	inodeBytes        = 256
	inodeSize         = 4
	inodeLinks        = 26
	inodeFirstExtent  = 40 + 12
	extentStart       = 8
	inodeXattrBlock   = 104
	inodeCtimeExtra   = 132
	inodeMtimeExtra   = 136
	inodeAtimeExtra   = 140
	inodeCrtimeExtra  = 148
	rootInode         = 2
	lostFoundInode    = 11
	dirParentEntry    = 12
	dirFirstEntry     = 24
	dirEntryBytesAt   = 4
	dirEntryNameAt    = 6
	dirEntryHeader    = 8
	xattrBlockHeader  = 32
	xattrEntryBytes   = 16
	inodeTableStretch = 4096 // inodes read at once
)

var errLayout = errors.New("unexpected ext4 layout")

// finish mends what the ext4 writer does not do as an image needs it.
func (f *Flattener) finish(disk Disk) error {
	e := &ext4Editor{disk: disk}
	e.padInodeBitmaps()
	if f.sortXattrs {
		e.sortXattrBlocks()
	}
	for _, number := range f.lateInodes {
		e.setLastEpoch(int64(number))
	}
	if !f.ownsLostFound {
		e.removeLostFound()
	}
	if f.standIn != "" {
		e.renameInRoot(f.standIn, lostFoundName)
	}
	return e.err
}

// ext4Editor changes single fields of a finished file system. After the first error, which it keeps, it does nothing.
type ext4Editor struct {
	disk Disk
	err  error
}

func (e *ext4Editor) read(offset int64, n int) []byte {
	b := make([]byte, n)
	if e.err == nil {
		if _, err := e.disk.ReadAt(b, offset); err != nil && !errors.Is(err, io.EOF) {
			e.err = err
		}
	}
	return b
}

func (e *ext4Editor) write(offset int64, b []byte) {
	if e.err == nil {
		_, e.err = e.disk.WriteAt(b, offset)
	}
}

func (e *ext4Editor) u32(offset int64) uint32 { return binary.LittleEndian.Uint32(e.read(offset, 4)) }

func (e *ext4Editor) add32(offset int64, delta int32) {
	e.write(offset, binary.LittleEndian.AppendUint32(nil, e.u32(offset)+uint32(delta)))
}

func (e *ext4Editor) add16(offset int64, delta int16) {
	v := binary.LittleEndian.Uint16(e.read(offset, 2)) + uint16(delta)
	e.write(offset, binary.LittleEndian.AppendUint16(nil, v))
}

func (e *ext4Editor) clearBit(bitmapBlock, bit uint32) {
	at := int64(bitmapBlock)*blockBytes + int64(bit/8)
	b := e.read(at, 1)
	b[0] &^= 1 << (bit % 8)
	e.write(at, b)
}

// inodeOffset is right for every inode: the writer puts the groups' tables one after the other.
func (e *ext4Editor) inodeOffset(number int64) int64 {
	table := int64(e.u32(groupsOffset + groupInodeTable))
	return table*blockBytes + (number-1)*inodeBytes
}

// setLastEpoch moves the times of an inode on to the last epoch that there is, in the upper halves of the four.
func (e *ext4Editor) setLastEpoch(number int64) {
	for _, at := range []int64{inodeCtimeExtra, inodeMtimeExtra, inodeAtimeExtra, inodeCrtimeExtra} {
		at += e.inodeOffset(number)
		e.write(at, binary.LittleEndian.AppendUint32(nil, e.u32(at)|lastEpoch))
	}
}

// padInodeBitmaps marks as used the bits behind the last inode of each group, which e2fsck asks for.
func (e *ext4Editor) padInodeBitmaps() {
	perGroup := e.u32(superOffset + superInodesPerGroup)
	padding := bytes.Repeat([]byte{0xff}, max(0, blockBytes-int(perGroup/8))) // the writer's groups hold multiples of 16
	groups := int64(e.u32(superOffset+superInodesCount) / max(1, perGroup))
	for g := range groups {
		bitmap := int64(e.u32(groupsOffset + g*groupBytes + groupInodeBitmap))
		e.write((bitmap+1)*blockBytes-int64(len(padding)), padding)
	}
}

// sortXattrBlocks puts the entries of all attribute blocks in the order that the kernel searches them in: by index, length
// of the name, name. The writer compares the three with "or", which is not an order, and getxattr would miss attributes that
// listxattr shows.
func (e *ext4Editor) sortXattrBlocks() {
	count := int64(e.u32(superOffset + superInodesCount))
	for first := int64(1); first <= count && e.err == nil; first += inodeTableStretch {
		stretch := e.read(e.inodeOffset(first), int(min(inodeTableStretch, count-first+1))*inodeBytes)
		for inode := range slices.Chunk(stretch, inodeBytes) {
			if block := binary.LittleEndian.Uint32(inode[inodeXattrBlock:]); block != 0 {
				e.sortXattrBlock(int64(block) * blockBytes)
			}
		}
	}
}

func (e *ext4Editor) sortXattrBlock(offset int64) {
	block := e.read(offset, blockBytes)
	if e.err != nil {
		return
	}
	var entries [][]byte
	rest := block[xattrBlockHeader:]
	for len(rest) >= 4 && binary.LittleEndian.Uint32(rest) != 0 {
		size := xattrEntryBytes + (int(rest[0])+3)&^3
		if size > len(rest) {
			e.err = fmt.Errorf("%w: attribute block at %d", errLayout, offset)
			return
		}
		entries, rest = append(entries, rest[:size]), rest[size:]
	}
	slices.SortFunc(entries, func(a, b []byte) int {
		return cmp.Or(cmp.Compare(a[1], b[1]), cmp.Compare(a[0], b[0]), bytes.Compare(a[xattrEntryBytes:], b[xattrEntryBytes:]))
	})
	e.write(offset+xattrBlockHeader, bytes.Join(entries, nil))
}
