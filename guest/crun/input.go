package crun

import (
	"io"
	"os"
	"sync"
)

// input is the standard input of a container, shared by all who are attached to it. Its methods are safe for concurrent
// use.
type input struct {
	file   *os.File
	queue  chan []byte
	ending chan struct{} // closed when the process is to see the end of its input
	over   chan struct{} // closed when nothing more is taken
	end    func()        // one of those who are attached sends no more
}

// newInput returns the input that is written to file until ended is closed. With once, the first who ends it ends it for
// the process, which is what stdinOnce asks for; without, nobody does. Input is no end of a terminal.
func newInput(file *os.File, once bool, ended <-chan struct{}) *input {
	i := &input{file: file, queue: make(chan []byte), ending: make(chan struct{}), over: make(chan struct{}), end: func() {}}
	if once {
		i.end = sync.OnceFunc(func() { close(i.ending) })
	}
	// Ends with the process, or when the input has.
	go i.pump(ended)
	return i
}

func (i *input) pump(ended <-chan struct{}) {
	defer close(i.over)
	for {
		select {
		case b := <-i.queue:
			if _, err := i.file.Write(b); err != nil { // the process has closed its end, or is gone
				return
			}
		case <-i.ending:
			_ = i.file.Close() // a pipe has nothing to write back
			return
		case <-ended:
			return
		}
	}
}

// write gives b to the process, unless the writer leaves meanwhile. It keeps b. An input that is over takes everything.
func (i *input) write(b []byte, gone <-chan struct{}) (int, error) {
	select {
	case i.queue <- b:
		return len(b), nil
	case <-i.over:
		return len(b), nil
	case <-gone:
		return 0, io.ErrClosedPipe
	}
}
