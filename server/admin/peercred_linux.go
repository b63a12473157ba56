package admin

import (
	"fmt"
	"net"
	"syscall"
)

// peerCredentials asks the kernel who connected (SO_PEERCRED, unix(7)).
func peerCredentials(c net.Conn) (credentials, error) {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return credentials{}, fmt.Errorf("peer credentials of %T: only unix sockets have them", c)
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return credentials{}, fmt.Errorf("peer credentials: %w", err)
	}
	var cred *syscall.Ucred
	var inner error
	err = raw.Control(func(fd uintptr) {
		cred, inner = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return credentials{}, fmt.Errorf("peer credentials: %w", err)
	}
	return credentials{uid: int(cred.Uid), gid: int(cred.Gid), pid: int(cred.Pid)}, nil
}
