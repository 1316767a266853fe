package main

import (
	"bytes"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// sharedMemory leaves the segment behind: who comes next finds the text.
func sharedMemory(out io.Writer, text string) error {
	const key, size = 0x766963, 4096
	id, err := unix.SysvShmGet(key, size, unix.IPC_CREAT|0o600)
	if err != nil {
		return fmt.Errorf("shmget: %w", err)
	}
	memory, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		return fmt.Errorf("shmat: %w", err)
	}
	if memory[0] == 0 {
		copy(memory[:size-1], text)
	}
	there, _, _ := bytes.Cut(memory, []byte{0})
	_, err = fmt.Fprintf(out, "%s\n", there)
	return err
}
