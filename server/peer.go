package server

import (
	"context"
	"net"
	"syscall"
)

// Peer is the process at the other end of a unix socket, as the kernel vouches for it (SO_PEERCRED, unix(7)).
type Peer struct {
	PID int
	UID int
	GID int
}

type peerKey struct{}

// PeerFrom returns who sent a request to the operations socket. It is false for requests that came another way.
func PeerFrom(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(Peer)
	return p, ok
}

// WithPeer puts the peer of a unix connection into its context; where the kernel does not say, there is none.
func WithPeer(ctx context.Context, c net.Conn) context.Context {
	if tracked, ok := c.(*conn); ok {
		c = tracked.Conn
	}
	unix, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *syscall.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err != nil || credErr != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, Peer{PID: int(cred.Pid), UID: int(cred.Uid), GID: int(cred.Gid)})
}
