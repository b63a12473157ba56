package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// The real node has mount, network and process namespaces of its own, and the control plane is in them with it: nothing of it
// touches the machine's network or mounts, and the death of its process 1 ends everything.
const (
	nodeName    = "node1"
	nodeAddress = "10.89.0.1" // in the node's own network
	apiPort     = 6443
)

// upNode starts a real node and lets the machine's loopback reach its API server.
func upNode(s settings, args []string) error {
	if os.Geteuid() != 0 {
		return errors.New("a real node needs root")
	}
	runtime.LockOSThread() // the node dies with this thread
	sweepCgroups()
	defer sweepCgroups()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer front.Close()
	go forward(front, filepath.Join(s.dir, "dial.sock"))
	cmd := exec.Command("/proc/self/exe", append([]string{"node-init", front.Addr().String(), fmt.Sprintf("covet-kube-%d", os.Getpid())}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL,
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("the real node: %w", err)
	}
	if s.remove {
		return os.RemoveAll(s.dir)
	}
	return nil
}

// forward gives each connection of l to the node's API server.
func forward(l net.Listener, socket string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			inside, err := net.Dial("unix", socket)
			if err != nil {
				return
			}
			defer inside.Close()
			if err := greet(inside, fmt.Sprintf("%s:%d", nodeAddress, apiPort)); err == nil {
				join(conn, inside)
			}
		}()
	}
}

// nodeInit is process 1 of the node: it makes the mounts its own, runs the rest as a child, and reaps whatever is left to it.
func nodeInit(args []string) error {
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE}, // nothing that is mounted from here on is seen outside
		{"", "/", "", syscall.MS_REC | syscall.MS_SHARED},  // but in the containers it is
		{"proc", "/proc", "proc", 0},
		{"tmpfs", "/run", "tmpfs", 0},
		{"tmpfs", "/var/log", "tmpfs", 0},
	} {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s at %s: %w", m.kind, m.target, err)
		}
	}
	child, err := os.StartProcess("/proc/self/exe", append([]string{"covet-kube", "node-up"}, args...), &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return err
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) || pid != child.Pid {
			continue
		}
		if err != nil || status.ExitStatus() != 0 {
			return errors.Join(fmt.Errorf("it ended with status %d", status.ExitStatus()), err)
		}
		return nil
	}
}

// nodeUp runs the node's components: args are the address at which the machine reaches the API server, the node's cgroup, and
// those of `up`.
func nodeUp(args []string) error {
	s, err := parse(args[2:])
	if err != nil {
		return err
	}
	s.remove = false // who started the node does it, when nothing is mounted in it any more
	return keep(s, func(ctx context.Context, c *crew) (report, error) {
		return realNode(ctx, s, c, "https://"+args[0], "/"+args[1])
	})
}

func realNode(ctx context.Context, s settings, c *crew, server, cgroup string) (report, error) {
	p := &plane{
		dir: s.dir, address: nodeAddress, port: apiPort, etcd: 2379, peer: 2380, crds: s.crds, crew: c, extra: strings.Fields(s.extra),
	}
	n := &node{plane: p, images: s.images, cgroup: cgroup}
	for _, step := range []func(context.Context) error{
		func(context.Context) error { return n.network() }, func(context.Context) error { return n.configure() },
		n.startContainerd, func(context.Context) error { return p.prepare() }, p.start, p.furnish, n.startKubelet,
	} {
		if err := step(ctx); err != nil {
			return report{}, err
		}
	}
	if err := serveDial(filepath.Join(s.dir, "dial.sock")); err != nil {
		return report{}, err
	}
	outside := p.kubeconfigOf("outside")
	if err := writeKubeconfig(outside, filepath.Join(p.dir, "pki"), "admin", server); err != nil {
		return report{}, err
	}
	return report{Kubeconfig: outside, Server: server}, nil
}

// join copies both ways until both have ended.
func join(a, b net.Conn) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		pipe(a, b)
	}()
	pipe(b, a)
	<-done
}

func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from) // the other side sees the end of it either way
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
