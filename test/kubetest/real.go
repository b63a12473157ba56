package kubetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// RealPossible says why this machine cannot run a real node; nil where it can.
func RealPossible() error {
	if os.Geteuid() != 0 {
		return errors.New("a real Kubernetes node needs root")
	}
	for _, p := range []string{"containerd", "ctr", "runc", "/usr/lib/cni/bridge", "/usr/sbin/iptables", "/usr/sbin/conntrack"} {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("a real Kubernetes node needs %s: scripts/setup installs it", filepath.Base(p))
		}
	}
	for _, try := range []struct{ what, program, args string }{
		{"namespaces", "/bin/true", ""},
		{"rules that choose at random", "/usr/sbin/iptables", "-t nat -A OUTPUT -m statistic --mode random --probability 0.5 -j ACCEPT"},
	} {
		cmd := exec.Command(try.program, strings.Fields(try.args)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("a real Kubernetes node needs %s, and the kernel refuses them: %w %s", try.what, err, out)
		}
	}
	return nil
}

// StartReal runs a cluster of one real node that has the images, and the one of its tests' pods as example.test/web:v1 and v2.
// Where this machine can't, the test is skipped with the reason.
func StartReal(tb testing.TB, images ...Image) *Cluster {
	tb.Helper()
	if err := RealPossible(); err != nil {
		tb.Skip(err)
	}
	dir := tb.TempDir()
	digests, err := WriteImages(tb.Context(), dir, images...)
	if err != nil {
		tb.Fatal(err)
	}
	c := Start(tb, Options{Real: true, Images: dir})
	c.Digests = digests
	return c
}

// WriteImages writes what a real node needs into a folder: the image that holds a pod's namespaces, a web server as
// example.test/web:v1, v2 and crash, and the images given. It returns every image's digest by its name.
func WriteImages(ctx context.Context, dir string, images ...Image) (digests map[string]string, err error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	web := filepath.Join(dir, "web")
	if _, err := goTool(ctx, root, "build", "-ldflags", "-s -w", "-o", web, "./test/kubetest/web"); err != nil {
		return nil, err
	}
	images = append(images, Image{Name: "covet.test/pause:1", Program: web, Args: []string{"pause"}},
		Image{Name: "example.test/web:crash", Program: web, Env: []string{"BEHAVES=crash"}})
	for _, v := range []string{"v1", "v2"} {
		images = append(images, Image{Name: "example.test/web:" + v, Program: web, Env: []string{"VERSION=" + v}})
	}
	digests = map[string]string{}
	for _, i := range images {
		if digests[i.Name], err = i.Write(dir); err != nil {
			return nil, err
		}
	}
	return digests, nil
}

// Dial makes a connection inside a real node's network, where the pods' and the Services' addresses are.
func (c *Cluster) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", filepath.Join(c.Dir, "dial.sock"))
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(conn, address); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	var answer strings.Builder
	for b := make([]byte, 1); ; { // a byte at a time: what follows the line belongs to the caller
		if _, err := io.ReadFull(conn, b); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		if b[0] == '\n' {
			break
		}
		answer.WriteByte(b[0])
	}
	if answer.Len() > 0 {
		return nil, errors.Join(errors.New(answer.String()), conn.Close())
	}
	return conn, nil
}
