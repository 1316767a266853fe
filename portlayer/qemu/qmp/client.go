package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxLineBytes bounds one message of QEMU. The largest that we ask for is a console ring in base64.
const maxLineBytes = 4 << 20

// HandshakeTimeout is how long a QEMU that answers at all takes at most to greet on a loaded machine.
const HandshakeTimeout = 10 * time.Second

// ErrClosed says that the connection to QEMU is gone.
var ErrClosed = errors.New("QMP connection closed")

// Error is QEMU's own answer to a command that it refused.
type Error struct {
	Command string `json:"-"`
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

// Error names the command and QEMU's reason.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Command, e.Desc) }

// Event is something that QEMU says unasked.
type Event struct {
	Name string
	Data json.RawMessage
}

// Command is one request. Files are passed with it, in order; the caller keeps and closes its own.
type Command struct {
	Name  string
	Args  any
	Files []*os.File
}

// Client is one connection to one QEMU. It is safe for concurrent use.
type Client struct {
	conn    *net.UnixConn
	onEvent func(Event)
	done    chan struct{} // closed when the read loop has ended

	write sync.Mutex // one command on the wire at a time

	mu      sync.Mutex // guards what follows
	nextID  uint64
	pending map[uint64]chan message
	err     error
}

// message is every form of line that QEMU sends.
type message struct {
	Greeting json.RawMessage `json:"QMP"`
	ID       *uint64         `json:"id"`
	Return   json.RawMessage `json:"return"`
	Error    *Error          `json:"error"`
	Event    string          `json:"event"`
	Data     json.RawMessage `json:"data"`
}

// New takes conn over, waits for QEMU's greeting and negotiates. It closes conn when it fails.
//
// onEvent is called from the one goroutine that reads, so it must not block nor call Execute. That goroutine ends when
// the connection does: by Close, or because QEMU ended.
func New(ctx context.Context, conn *net.UnixConn, onEvent func(Event)) (*Client, error) {
	c := &Client{conn: conn, onEvent: onEvent, done: make(chan struct{}), pending: map[uint64]chan message{}}
	greeted := make(chan struct{})
	go c.read(greeted)
	select {
	case <-greeted:
	case <-c.done:
		return nil, c.Err()
	case <-ctx.Done():
		c.Close()
		return nil, fmt.Errorf("await QMP greeting: %w", context.Cause(ctx))
	}
	if err := c.Execute(ctx, Command{Name: "qmp_capabilities"}, nil); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the connection and waits for the reader. QEMU goes on.
func (c *Client) Close() {
	_ = c.conn.Close() // a second close is all that can fail
	<-c.done
}

// Done is closed when the connection is gone.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why the connection is gone, nil while it stands. It wraps ErrClosed.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Execute sends one command and waits for its answer, which it decodes into result unless that is nil. A refusal is an
// *Error, a lost connection ErrClosed. When ctx ends first the command may still be carried out.
func (c *Client) Execute(ctx context.Context, cmd Command, result any) error {
	id, answer, err := c.register()
	if err != nil {
		return fmt.Errorf("%s: %w", cmd.Name, err)
	}
	defer c.forget(id)
	if err := c.send(ctx, id, cmd); err != nil {
		return fmt.Errorf("%s: %w", cmd.Name, err)
	}
	select {
	case m, ok := <-answer:
		return decode(cmd.Name, m, ok, result)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", cmd.Name, context.Cause(ctx))
	}
}

func decode(name string, m message, ok bool, result any) error {
	switch {
	case !ok:
		return fmt.Errorf("%s: %w", name, ErrClosed)
	case m.Error != nil:
		m.Error.Command = name
		return m.Error
	case result == nil:
		return nil
	}
	if err := json.Unmarshal(m.Return, result); err != nil {
		return fmt.Errorf("%s: read the answer: %w", name, err)
	}
	return nil
}

func (c *Client) register() (uint64, <-chan message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, nil, c.err
	}
	c.nextID++
	answer := make(chan message, 1)
	c.pending[c.nextID] = answer
	return c.nextID, answer, nil
}

func (c *Client) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

func (c *Client) send(ctx context.Context, id uint64, cmd Command) error {
	line, err := json.Marshal(struct {
		Execute string `json:"execute"`
		Args    any    `json:"arguments,omitempty"`
		ID      uint64 `json:"id"`
	}{cmd.Name, cmd.Args, id})
	if err != nil {
		return err
	}
	var rights []byte
	if len(cmd.Files) > 0 {
		fds := make([]int, 0, len(cmd.Files))
		for _, f := range cmd.Files {
			fds = append(fds, int(f.Fd()))
		}
		rights = syscall.UnixRights(fds...)
	}
	c.write.Lock()
	defer c.write.Unlock()
	deadline, _ := ctx.Deadline() // the zero time means none
	if err := c.conn.SetWriteDeadline(deadline); err != nil {
		return errors.Join(ErrClosed, err)
	}
	if err := c.writeAll(append(line, '\n'), rights); err != nil {
		// Half a command may be on the wire: nothing that follows could be understood.
		_ = c.conn.Close()
		return errors.Join(ErrClosed, err)
	}
	return nil
}

// writeAll sends rights with the first bytes of line.
func (c *Client) writeAll(line, rights []byte) error {
	if len(rights) > 0 {
		n, _, err := c.conn.WriteMsgUnix(line, rights, nil)
		if err != nil {
			return err
		}
		line = line[n:]
	}
	if len(line) == 0 {
		return nil
	}
	_, err := c.conn.Write(line)
	return err
}

// read ends when the connection does, and then fails every command that waits.
func (c *Client) read(greeted chan<- struct{}) {
	defer close(c.done)
	lines := bufio.NewScanner(c.conn)
	lines.Buffer(make([]byte, 0, 4096), maxLineBytes)
	for lines.Scan() {
		var m message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			c.fail(fmt.Errorf("read QMP: %w", err))
			return
		}
		if m.Greeting != nil && greeted != nil {
			close(greeted)
			greeted = nil
		}
		c.dispatch(m)
	}
	c.fail(lines.Err())
}

func (c *Client) dispatch(m message) {
	if m.Event != "" {
		if c.onEvent != nil {
			c.onEvent(Event{Name: m.Event, Data: m.Data})
		}
		return
	}
	if m.ID == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if answer, ok := c.pending[*m.ID]; ok {
		delete(c.pending, *m.ID)
		answer <- m
	}
}

func (c *Client) fail(err error) {
	_ = c.conn.Close() // it is of no more use; what went wrong is in err
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = ErrClosed
	if err != nil && !errors.Is(err, net.ErrClosed) {
		c.err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	for id, answer := range c.pending {
		delete(c.pending, id)
		close(answer)
	}
}
