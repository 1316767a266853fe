package vmdk

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	sectorBytes   = 512
	grainSectors  = 128
	grainBytes    = grainSectors * sectorBytes
	tableEntries  = 512 // grains of one table
	tableSectors  = tableEntries * 4 / sectorBytes
	headerSectors = grainSectors // header and descriptor; grains begin on a grain's border

	magic        = 0x564d444b // "KDMV" in little-endian order
	version      = 3
	flags        = 1 | 1<<16 | 1<<17 // newline test, compressed grains, markers
	atEnd        = 1<<64 - 1         // the grain directory's place is in the footer
	deflate      = 1
	maxGrainRead = 1 << 20
)

// The kinds of marker behind which something other than a grain stands.
const (
	markEnd uint32 = iota
	markTable
	markDirectory
	markFooter
)

// header is the SparseExtentHeader, without its padding.
type header struct {
	Magic, Version, Flags                uint32
	Capacity, GrainSize                  uint64
	DescriptorOffset, DescriptorSize     uint64
	EntriesPerTable                      uint32
	RedundantDirectory, Directory        uint64
	Overhead                             uint64
	UncleanShutdown                      byte
	SingleEnd, NonEnd, DoubleEnd1, Dend2 byte
	Compression                          uint16
}

// Capacity is how many bytes the disk of a content of that many bytes has: it is made of whole grains.
func Capacity(contentBytes int64) int64 {
	return (contentBytes + grainBytes - 1) / grainBytes * grainBytes
}

// Write writes the content of r as a disk of Capacity(contentBytes) bytes. r has to have exactly contentBytes.
func Write(w io.Writer, r io.Reader, contentBytes int64) error {
	s := &stream{w: bufio.NewWriterSize(w, maxGrainRead), capacity: uint64(Capacity(contentBytes)) / sectorBytes}
	if s.capacity == 0 {
		return errors.New("write VMDK: a disk of no bytes")
	}
	s.directory = make([]uint32, (s.capacity/grainSectors+tableEntries-1)/tableEntries)
	if err := s.write(r, contentBytes); err != nil {
		return fmt.Errorf("write VMDK: %w", err)
	}
	return nil
}

// stream is a disk that is being written.
type stream struct {
	w        *bufio.Writer
	capacity uint64 // in sectors
	at       uint64 // bytes written

	directory []uint32 // sectors of tables, 0 where all their grains are zero
	table     [tableEntries]uint32
	packed    bytes.Buffer
}

func (s *stream) write(r io.Reader, contentBytes int64) error {
	if err := s.head(); err != nil {
		return err
	}
	if err := s.grains(r, contentBytes); err != nil {
		return err
	}
	return s.tail()
}

// head writes the header and the descriptor.
func (s *stream) head() error {
	descriptor := s.descriptor()
	if len(descriptor) > (headerSectors-1)*sectorBytes {
		return errors.New("descriptor too long")
	}
	if err := s.header(atEnd); err != nil {
		return err
	}
	if err := s.put([]byte(descriptor)); err != nil {
		return err
	}
	return s.pad(headerSectors * sectorBytes)
}

func (s *stream) header(directory uint64) error {
	h := header{
		Magic: magic, Version: version, Flags: flags, Capacity: s.capacity, GrainSize: grainSectors,
		DescriptorOffset: 1, DescriptorSize: headerSectors - 1, EntriesPerTable: tableEntries,
		Directory: directory, Overhead: headerSectors,
		SingleEnd: '\n', NonEnd: ' ', DoubleEnd1: '\r', Dend2: '\n', Compression: deflate,
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, h); err != nil {
		return err
	}
	if err := s.put(b.Bytes()); err != nil {
		return err
	}
	return s.pad(sectorBytes)
}

// descriptor says what the disk is. vSphere chooses cylinders and adapter anew when it imports it.
func (s *stream) descriptor() string {
	return fmt.Sprintf(`# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RDONLY %d SPARSE "disk.vmdk"

# The Disk Data Base
#DDB

ddb.virtualHWVersion = "4"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.adapterType = "lsilogic"
`, s.capacity, s.capacity/(255*63))
}

// grains writes every grain that is not zero, and a table behind the grains that it is for.
func (s *stream) grains(r io.Reader, contentBytes int64) error {
	grain := make([]byte, grainBytes)
	count := s.capacity / grainSectors
	for i := range count {
		want := min(contentBytes-int64(i)*grainBytes, grainBytes)
		clear(grain)
		if n, err := io.ReadFull(r, grain[:want]); err != nil {
			return fmt.Errorf("content ends after %d of %d bytes: %w", int64(i)*grainBytes+int64(n), contentBytes, err)
		}
		if err := s.grain(i, grain); err != nil {
			return err
		}
		if i%tableEntries == tableEntries-1 || i == count-1 {
			if err := s.endTable(i / tableEntries); err != nil {
				return err
			}
		}
	}
	if n, err := io.ReadFull(r, grain[:1]); n > 0 || !errors.Is(err, io.EOF) {
		return errors.Join(fmt.Errorf("content goes on after %d bytes", contentBytes), err)
	}
	return nil
}

var zeros [grainBytes]byte

func (s *stream) grain(index uint64, grain []byte) error {
	if bytes.Equal(grain, zeros[:]) {
		return nil
	}
	s.packed.Reset()
	z := zlib.NewWriter(&s.packed)
	if _, err := z.Write(grain); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	s.table[index%tableEntries] = uint32(s.at / sectorBytes)
	marker := binary.LittleEndian.AppendUint64(nil, index*grainSectors)
	marker = binary.LittleEndian.AppendUint32(marker, uint32(s.packed.Len()))
	if err := s.put(append(marker, s.packed.Bytes()...)); err != nil {
		return err
	}
	return s.pad(sectorBytes)
}

// endTable writes the table of the grains so far, unless all of them are zero.
func (s *stream) endTable(index uint64) error {
	if s.table == [tableEntries]uint32{} {
		return nil
	}
	if err := s.mark(markTable, tableSectors); err != nil {
		return err
	}
	s.directory[index] = uint32(s.at / sectorBytes)
	err := s.numbers(s.table[:])
	s.table = [tableEntries]uint32{}
	return err
}

// tail writes the directory, the footer and the end.
func (s *stream) tail() error {
	sectors := (uint64(len(s.directory))*4 + sectorBytes - 1) / sectorBytes
	if err := s.mark(markDirectory, sectors); err != nil {
		return err
	}
	directory := s.at / sectorBytes
	if err := s.numbers(s.directory); err != nil {
		return err
	}
	if err := s.mark(markFooter, 1); err != nil {
		return err
	}
	if err := s.header(directory); err != nil {
		return err
	}
	if err := s.mark(markEnd, 0); err != nil {
		return err
	}
	return s.w.Flush()
}

// mark says what the sectors behind it are.
func (s *stream) mark(kind uint32, sectors uint64) error {
	marker := binary.LittleEndian.AppendUint64(nil, sectors)
	marker = binary.LittleEndian.AppendUint32(marker, 0)
	marker = binary.LittleEndian.AppendUint32(marker, kind)
	if err := s.put(marker); err != nil {
		return err
	}
	return s.pad(sectorBytes)
}

func (s *stream) numbers(all []uint32) error {
	b := make([]byte, 0, len(all)*4)
	for _, n := range all {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	if err := s.put(b); err != nil {
		return err
	}
	return s.pad(sectorBytes)
}

func (s *stream) put(b []byte) error {
	n, err := s.w.Write(b)
	s.at += uint64(n)
	return err
}

// pad writes zeros up to a multiple of unit, which is no larger than a grain.
func (s *stream) pad(unit uint64) error {
	if over := s.at % unit; over > 0 {
		return s.put(zeros[:unit-over])
	}
	return nil
}
