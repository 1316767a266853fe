package strangers_test

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/strangers"
)

// queue is a listener whose connections a test makes.
type queue chan net.Conn

func (q queue) Accept() (net.Conn, error) {
	conn, ok := <-q
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (q queue) Close() error   { return nil }
func (q queue) Addr() net.Addr { return &net.TCPAddr{} }

// conn is a connection that knows whether it was closed, by halves.
type conn struct {
	net.Conn
	from              string
	closed, halfClose bool
}

func (c *conn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.from + ":1"))
}
func (c *conn) Close() error      { c.closed = true; return nil }
func (c *conn) CloseWrite() error { c.halfClose = true; return nil }

// bench is a listener with places for 3 strangers, 2 from each address, and for 1 from 192.0.2.9, which is known.
type bench struct {
	*strangers.Listener
	t     *testing.T
	queue queue
	allow bool
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, queue: make(queue, 10), allow: true}
	b.Listener = strangers.Bound(b.queue, strangers.Limits{
		Unknown: 3, PerUnknown: 2, PerKnown: 1,
		Source: func(remote string) netip.Addr { return netip.MustParseAddrPort(remote).Addr() },
		Known:  func(from netip.Addr) bool { return from.String() == "192.0.2.9" },
		Allow:  func(netip.Addr, bool) bool { return b.allow },
	})
	return b
}

// connect is refused where the listener closes what it does not return.
func (b *bench) connect(from string) (theirs *conn, ours net.Conn) {
	b.t.Helper()
	theirs = &conn{from: from}
	b.queue <- theirs
	accepted := make(chan net.Conn, 1)
	go func() { // ends at the latest when the queue is closed
		if got, err := b.Accept(); err == nil {
			accepted <- got
		}
	}()
	synctest.Wait()
	select {
	case ours = <-accepted:
	default:
		require.True(b.t, theirs.closed)
		close(b.queue)
		b.queue = nil
	}
	return theirs, ours
}

func TestOfOneMoreOfAnAddressTheOldestGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		first, _ := b.connect("192.0.2.1")
		second, _ := b.connect("192.0.2.1")
		assert.False(t, first.closed)
		third, _ := b.connect("192.0.2.1")
		assert.Equal(t, []bool{true, false, false}, []bool{first.closed, second.closed, third.closed})

		known, _ := b.connect("192.0.2.9")
		b.connect("192.0.2.9")
		assert.True(t, known.closed)
	})
}

func TestStrangersDoNotTakeThePlacesOfThoseThatAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for _, from := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
			b.connect(from)
		}
		known, ours := b.connect("192.0.2.9")
		assert.False(t, known.closed)
		require.NotNil(t, ours)
		_, ours = b.connect("192.0.2.4")
		assert.Nil(t, ours, "there are as many as there may be")
	})
}

func TestWhatIsClosedOrAdmittedGivesItsPlaceBackOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		_, closed := b.connect("192.0.2.1")
		_, admitted := b.connect("192.0.2.2")
		b.connect("192.0.2.3")
		require.NoError(t, closed.Close())
		require.NoError(t, closed.Close())
		strangers.Admit(admitted)
		strangers.Admit(admitted)
		require.NoError(t, admitted.Close())
		for _, from := range []string{"192.0.2.4", "192.0.2.5"} {
			_, ours := b.connect(from)
			require.NotNil(t, ours)
		}
		_, ours := b.connect("192.0.2.6")
		assert.Nil(t, ours, "two places were given back, and no more")
	})
}

func TestAnAddressThatMayHaveNoMoreIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.allow = false
		_, ours := b.connect("192.0.2.9")
		assert.Nil(t, ours)
	})
}

func TestHalfOfAConnectionIsClosedWhereItHasHalves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		theirs, ours := b.connect("192.0.2.1")
		require.NoError(t, ours.(*strangers.Conn).CloseWrite())
		assert.True(t, theirs.halfClose)
		assert.False(t, theirs.closed)
		assert.Equal(t, "192.0.2.1", ours.(*strangers.Conn).Source().String())
	})
}
