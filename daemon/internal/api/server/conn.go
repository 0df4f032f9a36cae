package server

import (
	"context"
	"errors"
	"net"
	"os/user"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/stepd/stepd/daemon/internal/api"
)

// refusals is how many connections above the limit are kept at a time for as
// long as it takes to tell them so.
const refusals = 16

// gate counts connections. Those above the limit are let in only to be told
// that the daemon is busy: a client that waits in the backlog would hang without
// a word, and cancel has to say something even when 64 people watch.
type gate struct {
	net.Listener
	limit int64
	open  atomic.Int64
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		n := g.open.Add(1)
		if n > g.limit+refusals {
			g.open.Add(-1)
			_ = conn.Close()
			continue
		}
		return &gatedConn{Conn: conn, gate: g, busy: n > g.limit}, nil
	}
}

type gatedConn struct {
	net.Conn
	gate *gate
	busy bool
	once sync.Once
}

func (c *gatedConn) Close() error {
	c.once.Do(func() { c.gate.open.Add(-1) })
	return c.Conn.Close()
}

// peer is what is known of the other end of a connection.
type peer struct {
	cred *unix.Ucred
	err  error
	busy bool
}

type peerKey struct{}

// withPeer runs in the accept loop, so it asks the kernel only and looks no
// names up.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	var p peer
	if g, ok := conn.(*gatedConn); ok {
		p.busy, conn = g.busy, g.Conn
	}
	p.cred, p.err = credentials(conn)
	return context.WithValue(ctx, peerKey{}, p)
}

func credentials(conn net.Conn) (cred *unix.Ucred, err error) {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.New("the connection is no unix socket")
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return nil, err
	}
	if e := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); e != nil {
		return nil, e
	}
	return cred, err
}

// names remembers user names: a lookup may ask a directory server.
type names struct {
	mu    sync.Mutex
	known map[uint32]string
}

const maxNames = 256 // then all are forgotten; a machine has few callers

func (n *names) of(uid uint32) string {
	n.mu.Lock()
	name, ok := n.known[uid]
	n.mu.Unlock()
	if ok {
		return name
	}
	digits := strconv.FormatUint(uint64(uid), 10)
	u, err := user.LookupId(digits)
	if err != nil {
		return digits // not remembered: the user may be made meanwhile
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil || len(n.known) >= maxNames {
		n.known = make(map[uint32]string)
	}
	n.known[uid] = u.Username
	return u.Username
}

// caller is who asks, or an *api.Error when that cannot be known.
func (s *Server) caller(ctx context.Context) (api.Caller, error) {
	p, _ := ctx.Value(peerKey{}).(peer)
	if p.err != nil || p.cred == nil {
		return api.Caller{}, &api.Error{Code: api.CodeDenied, Message: "the daemon cannot tell who is asking",
			Hint: "connect to its unix socket directly"}
	}
	return api.Caller{UID: p.cred.Uid, GID: p.cred.Gid, PID: p.cred.Pid, Name: s.names.of(p.cred.Uid)}, nil
}
