package server

import (
	"context"
	"errors"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"unsafe"

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
	cred   *unix.Ucred
	groups []uint32 // beside that of cred
	err    error
	busy   bool
}

type peerKey struct{}

// withPeer runs in the accept loop, so it asks the kernel only and looks no
// names up.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	var p peer
	if g, ok := conn.(*gatedConn); ok {
		p.busy, conn = g.busy, g.Conn
	}
	p.cred, p.groups, p.err = credentials(conn)
	return context.WithValue(ctx, peerKey{}, p)
}

func credentials(conn net.Conn) (cred *unix.Ucred, groups []uint32, err error) {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.New("the connection is no unix socket")
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	if e := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err == nil {
			groups, err = peerGroups(fd)
		}
	}); e != nil {
		return nil, nil, e
	}
	return cred, groups, err
}

// maxGroups is NGROUPS_MAX of Linux.
const maxGroups = 1 << 16

// peerGroups are the supplementary groups that the peer had when it connected.
func peerGroups(fd uintptr) ([]uint32, error) {
	const gidSize = 4
	for room := 64; ; room = maxGroups {
		groups := make([]uint32, room)
		size := uint32(room * gidSize) // socklen_t
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/gidSize], nil
		case errno != unix.ERANGE || room == maxGroups:
			return nil, os.NewSyscallError("getsockopt", errno)
		}
	}
}

// names remembers the names of users and groups: a lookup may ask a directory
// server.
type names struct {
	mu     sync.Mutex
	users  map[uint32]string
	groups map[uint32]string
}

const maxNames = 256 // of each; then all are forgotten, for a machine has few callers

func (n *names) user(uid uint32) string {
	return n.of(&n.users, uid, func(digits string) (string, error) {
		u, err := user.LookupId(digits)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
}

func (n *names) group(gid uint32) string {
	return n.of(&n.groups, gid, func(digits string) (string, error) {
		g, err := user.LookupGroupId(digits)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

func (n *names) of(known *map[uint32]string, id uint32, lookup func(digits string) (string, error)) string {
	n.mu.Lock()
	name, ok := (*known)[id]
	n.mu.Unlock()
	if ok {
		return name
	}
	digits := strconv.FormatUint(uint64(id), 10)
	name, err := lookup(digits)
	if err != nil {
		return digits // not remembered: it may be made meanwhile
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if *known == nil || len(*known) >= maxNames {
		*known = make(map[uint32]string)
	}
	(*known)[id] = name
	return name
}

// caller is who asks, without the role, or an *api.Error when that cannot be
// known.
func (s *Server) caller(ctx context.Context) (api.Caller, error) {
	p, _ := ctx.Value(peerKey{}).(peer)
	if p.err != nil || p.cred == nil {
		return api.Caller{}, &api.Error{Code: api.CodeDenied, Message: "the daemon cannot tell who is asking",
			Hint: "connect to its unix socket directly"}
	}
	who := api.Caller{UID: p.cred.Uid, GID: p.cred.Gid, PID: p.cred.Pid, Name: s.names.user(p.cred.Uid)}
	for _, gid := range append([]uint32{p.cred.Gid}, p.groups...) {
		if name := s.names.group(gid); !slices.Contains(who.Groups, name) {
			who.Groups = append(who.Groups, name)
		}
	}
	return who, nil
}
