package persona

import (
	"bytes"
	"io"
	"os"
)

// holeBytes is the size and alignment of a hole: a block of the file systems that disks are kept on.
const holeBytes = 4096

var noughts [holeBytes]byte

// sparseFile is a new file that leaves out blocks of zeros: a sparse file in an image, or a bomb, takes no room. settle must
// be called before others read it.
type sparseFile struct {
	file *os.File
	at   int64
	// end is the end of all that was written; beyond it a hole can be left. The file is no longer than size until settle.
	end, size int64
}

// Write writes p where the file stands.
func (s *sparseFile) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		chunk := p[written:]
		chunk = chunk[:min(len(chunk), holeBytes-int(s.at%holeBytes))]
		if s.at >= s.end && bytes.Equal(chunk, noughts[:len(chunk)]) {
			s.at += int64(len(chunk))
			s.end = s.at
			written += len(chunk)
			continue
		}
		n, err := s.WriteAt(s.dense(p[written:]), s.at)
		s.at += int64(n)
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// dense is the beginning of p that has to be written: up to the first block of zeros that can be a hole.
func (s *sparseFile) dense(p []byte) []byte {
	n := min(len(p), holeBytes-int(s.at%holeBytes))
	for n < len(p) {
		block := p[n:min(len(p), n+holeBytes)]
		if s.at+int64(n) >= s.end && bytes.Equal(block, noughts[:len(block)]) {
			break
		}
		n += len(block)
	}
	return p[:n]
}

// Seek moves where the file stands.
func (s *sparseFile) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		s.at = offset
	case io.SeekCurrent:
		s.at += offset
	case io.SeekEnd:
		s.at = s.end + offset
	}
	return s.at, nil
}

// Read reads from where the file stands.
func (s *sparseFile) Read(p []byte) (int, error) {
	n, err := s.ReadAt(p, s.at)
	s.at += int64(n)
	return n, err
}

// ReadAt reads what was written, holes included.
func (s *sparseFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := s.settle(); err != nil {
		return 0, err
	}
	return s.file.ReadAt(p, offset)
}

// WriteAt writes p, holes or not.
func (s *sparseFile) WriteAt(p []byte, offset int64) (int, error) {
	n, err := s.file.WriteAt(p, offset)
	s.size = max(s.size, offset+int64(n))
	s.end = max(s.end, s.size)
	return n, err
}

// settle gives the file its length, which a hole at its end has not.
func (s *sparseFile) settle() error {
	if s.size >= s.end {
		return nil
	}
	if err := s.file.Truncate(s.end); err != nil {
		return err
	}
	s.size = s.end
	return nil
}
