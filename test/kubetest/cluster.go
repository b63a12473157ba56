// Package kubetest runs real Kubernetes clusters for tests: etcd, the API server, its controllers and the scheduler on free
// ports of the loopback address, with simulated nodes (KWOK) or one real node. A cluster ends with the process that started it,
// however that ends.
//
// How a simulated pod behaves is in its image's tag, or in the annotation `kube.covet.test/behaves` of its template: crash,
// missing, notready, slow (ready after 8 s), latefail (ready for 10 s), anything else is ready after half a second to two.
package kubetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options change what a cluster has.
type Options struct {
	Nodes          int      // simulated ones; 0: four
	Real           bool     // one real node instead; see RealPossible
	Images         string   // a folder of OCI archives for the real node
	APIServerFlags []string // more of them
	// GiveWay lets everything else on the machine run first, as if the cluster ran on others.
	GiveWay bool
}

// Cluster is a running cluster.
type Cluster struct {
	Dir        string // its state, and every component's log
	Kubeconfig string // of its administrator
	Server     string // https://127.0.0.1:PORT

	Digests map[string]string // of the images of a real node, by their names

	cmd   *exec.Cmd
	mu    sync.Mutex // one line of stdin and its answer at a time
	stdin io.WriteCloser
	out   *bufio.Scanner
}

// answer is a line of covet-kube.
type answer struct {
	Kubeconfig, Server, Error string
}

// Open starts a cluster. Close ends it, and so does the end of this process.
func Open(ctx context.Context, o Options) (*Cluster, error) {
	program, err := Build(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "covet-kube-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, cmd: o.command(program, dir)}
	if err := c.start(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (o Options) command(program, dir string) *exec.Cmd {
	if o.GiveWay {
		return exec.Command("nice", append([]string{"-n", "15", program}, o.args(dir)...)...)
	}
	return exec.Command(program, o.args(dir)...)
}

func (o Options) args(dir string) []string {
	if o.Nodes == 0 {
		o.Nodes = 4
	}
	args := []string{"up", "--dir", dir, "--remove", "--nodes", strconv.Itoa(o.Nodes), "--apiserver-flags", strings.Join(o.APIServerFlags, " ")}
	if o.Real {
		args = append(args, "--node", "--images", o.Images)
	}
	return args
}

func (c *Cluster) start() error {
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	c.out = bufio.NewScanner(stdout)
	log, err := os.Create(filepath.Join(c.Dir, "up.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	c.cmd.Stderr = log
	if err := c.cmd.Start(); err != nil {
		return err
	}
	a, err := c.read()
	if err != nil {
		return err
	}
	c.Kubeconfig, c.Server = a.Kubeconfig, a.Server
	return nil
}

// read is the next line of covet-kube.
func (c *Cluster) read() (answer, error) {
	var a answer
	if !c.out.Scan() {
		said, err := os.ReadFile(filepath.Join(c.Dir, "up.log"))
		return a, errors.Join(fmt.Errorf("the Kubernetes test cluster ended: %s", said), err)
	}
	if err := json.Unmarshal(c.out.Bytes(), &a); err != nil {
		return a, fmt.Errorf("the Kubernetes test cluster said %q: %w", c.out.Text(), err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// Tell does something to a component: Tell("kill", "kube-apiserver"). The verbs are stop, kill, start, freeze and thaw; the
// components etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok, and of a real node kubelet, kube-proxy and
// containerd. A started API server has yet to become ready: see WaitReady.
func (c *Cluster) Tell(verb, component string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := fmt.Fprintln(c.stdin, verb, component); err != nil {
		return err
	}
	_, err := c.read()
	return err
}

// Close ends the cluster and removes its folder.
func (c *Cluster) Close() error {
	if c.stdin != nil {
		_ = c.stdin.Close() // it has ended where this fails
	}
	var err error
	if c.cmd.Process != nil {
		ended := time.AfterFunc(20*time.Second, func() { _ = c.cmd.Process.Kill() })
		defer ended.Stop()
		err = c.cmd.Wait()
	}
	return errors.Join(err, os.RemoveAll(c.Dir))
}
