package statedir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// pollSlice bounds one wait for a process or its record, so that a context's end is seen.
const pollSlice = 100 * time.Millisecond

// Stop asks the holder of the directory at path to end, as SIGTERM does, and waits until it has. A holder that has only
// begun to start is waited for first. It returns ErrNotRunning when there is no holder. The process is signalled through
// a pidfd that is checked against the record: no other process can be hit.
func Stop(ctx context.Context, path string) error {
	r, err := findRecorded(ctx, path)
	if err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(r.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", r.PID, err)
	}
	defer unix.Close(fd)
	// The pidfd now pins the process; was it still the right one when it was opened?
	if start, err := processStart(r.PID); err != nil || start != r.ProcessStart {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", r.PID, err)
	}
	return waitExit(ctx, fd, r.PID)
}

// findRecorded is Find, and waits for a holder that has not said yet which process it is.
func findRecorded(ctx context.Context, path string) (Record, error) {
	ticker := time.NewTicker(pollSlice)
	defer ticker.Stop()
	for {
		r, err := Find(path)
		if err != nil || r.PID != 0 {
			return r, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return Record{}, fmt.Errorf("stop control plane in %s: it has only begun to start: %w", path, ctx.Err())
		}
	}
}

func waitExit(ctx context.Context, fd, pid int) error {
	for ctx.Err() == nil {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(pollSlice.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		}
		if n > 0 {
			return nil
		}
	}
	return fmt.Errorf("wait for process %d to end: %w", pid, ctx.Err())
}

// processStart reads field 22 of /proc/PID/stat. Field 2, the name, is in parentheses and may hold anything.
func processStart(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("look at process %d: %w", pid, err)
	}
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	const startField = 22 - 3 // the first field after the name is the third
	if len(fields) <= startField {
		return 0, fmt.Errorf("look at process %d: stat is too short", pid)
	}
	return strconv.ParseUint(string(fields[startField]), 10, 64)
}
