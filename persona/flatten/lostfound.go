package flatten

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
)

// The ext4 writer makes a directory lost+found and lets nothing else have that name. An image may have such a directory, or
// none, or a file of that name: the first is as it should be, the second is mended by removing the directory, and the third
// by writing the file under another name of the same length and changing that afterwards.

const (
	lostFoundName  = "lost+found"
	standInPattern = "lost+%05d"
)

// chooseStandIn finds a name for a lost+found that is not a directory.
func (f *Flattener) chooseStandIn() {
	names := f.tree.root.children
	if n := names[lostFoundName]; n == nil || n.isDir() {
		f.ownsLostFound = n != nil
		return
	}
	for i := 0; f.standIn == "" || names[f.standIn] != nil; i++ {
		f.standIn = fmt.Sprintf(standInPattern, i)
	}
}

// nameOnDisk is the path that a path of the image has until the disk is finished.
func (f *Flattener) nameOnDisk(path string) string {
	if f.standIn != "" && path == lostFoundName {
		return f.standIn
	}
	return path
}

// usesLostFound reports whether the writer's own directory becomes the image's.
func (f *Flattener) usesLostFound(path string, ino *inode) bool {
	return path == lostFoundName && ino.kind == tar.TypeDir
}

// removeLostFound takes away the directory that the writer adds for the sake of e2fsck, which never repairs a read-only
// disk: a container must see its image and nothing else.
func (e *ext4Editor) removeLostFound() {
	root, lost := e.inodeOffset(rootInode), e.inodeOffset(lostFoundInode)
	rootBlock := int64(e.u32(root+inodeFirstExtent+extentStart)) * blockBytes
	lostBlock := e.u32(lost + inodeFirstExtent + extentStart)

	entry := e.read(rootBlock+dirFirstEntry, dirEntryHeader+len(lostFoundName))
	if e.err == nil && (binary.LittleEndian.Uint32(entry) != lostFoundInode || string(entry[dirEntryHeader:]) != lostFoundName) {
		e.err = fmt.Errorf("%w: %s is not the first entry", errLayout, lostFoundName)
		return
	}
	// An entry is removed by making the one before it longer.
	e.add16(rootBlock+dirParentEntry+dirEntryBytesAt, int16(binary.LittleEndian.Uint16(entry[dirEntryBytesAt:])))
	e.add16(root+inodeLinks, -1)
	e.write(lost, make([]byte, inodeBytes))

	e.clearBit(e.u32(groupsOffset+groupInodeBitmap), lostFoundInode-1)
	e.add16(groupsOffset+groupFreeInodes, 1)
	e.add16(groupsOffset+groupDirs, -1)
	e.add32(superOffset+superFreeInodes, 1)

	perGroup := max(1, e.u32(superOffset+superBlocksPerGroup)) // never zero but after an error
	group := groupsOffset + int64(lostBlock/perGroup)*groupBytes
	e.clearBit(e.u32(group+groupBlockBitmap), lostBlock%perGroup)
	e.add16(group+groupFreeBlocks, 1)
	e.add32(superOffset+superFreeBlocks, 1)
	e.write(superOffset+superLostFound, make([]byte, 4))
}

// renameInRoot gives the entry from of the root another name of the same length. The writer leaves a directory in one piece.
func (e *ext4Editor) renameInRoot(from, to string) {
	root := e.inodeOffset(rootInode)
	start := int64(e.u32(root+inodeFirstExtent+extentStart)) * blockBytes
	for end := start + int64(e.u32(root+inodeSize)); start < end && e.err == nil; start += blockBytes {
		block := e.read(start, blockBytes)
		for at := 0; at+dirEntryHeader <= len(block); {
			entry := block[at:]
			size, length := int(binary.LittleEndian.Uint16(entry[dirEntryBytesAt:])), int(entry[dirEntryNameAt])
			if size < dirEntryHeader || dirEntryHeader+length > len(entry) {
				e.err = fmt.Errorf("%w: root directory", errLayout)
				return
			}
			if string(entry[dirEntryHeader:dirEntryHeader+length]) == from {
				e.write(start+int64(at+dirEntryHeader), []byte(to))
				return
			}
			at += size
		}
	}
	if e.err == nil {
		e.err = fmt.Errorf("%w: %s is not in the root", errLayout, from)
	}
}
