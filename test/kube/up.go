package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// settings are what `up` is asked for.
type settings struct {
	dir    string
	nodes  int
	real   bool
	crds   string
	images string
	limit  time.Duration
	extra  string
	remove bool
}

func parse(args []string) (settings, error) {
	var s settings
	f := flag.NewFlagSet("up", flag.ContinueOnError)
	f.StringVar(&s.dir, "dir", "", "an empty or missing folder for all state and logs")
	f.IntVar(&s.nodes, "nodes", 4, "simulated nodes")
	f.BoolVar(&s.real, "node", false, "a real node instead: containerd, kubelet and kube-proxy in namespaces of their own (needs root)")
	f.StringVar(&s.crds, "crds", "", "a folder of custom resource definitions (default: crds, beside this program)")
	f.StringVar(&s.images, "images", "", "a folder of OCI archives (*.tar) that the real node shall have")
	f.DurationVar(&s.limit, "within", 3*time.Minute, "give up when it is not ready by then")
	f.StringVar(&s.extra, "apiserver-flags", "", "more flags of the API server, separated by spaces")
	f.BoolVar(&s.remove, "remove", false, "remove the folder at the end")
	if err := f.Parse(args); err != nil {
		return s, err
	}
	if s.dir == "" {
		return s, fmt.Errorf("--dir is missing")
	}
	if s.crds == "" {
		self, err := os.Executable()
		if err != nil {
			return s, err
		}
		s.crds = filepath.Join(filepath.Dir(self), "crds")
	}
	var err error
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return s, err
	}
	return s, os.MkdirAll(s.dir, 0o700)
}

// report is a line of stdout: that the cluster is up, or the answer to a line of stdin.
type report struct {
	Kubeconfig string `json:"kubeconfig,omitempty"`
	Server     string `json:"server,omitempty"`
	Error      string `json:"error,omitempty"`
}

func (r report) print() {
	_ = json.NewEncoder(os.Stdout).Encode(r) // who asked may have gone
}

// up starts a cluster and keeps it until stdin ends.
func up(args []string) error {
	s, err := parse(args)
	if err != nil {
		return err
	}
	if s.real {
		return upNode(s, args)
	}
	return keep(s, func(ctx context.Context, c *crew) (report, error) { return simulated(ctx, s, c) })
}

// keep runs what starts a cluster beside the thread that its processes are tied to, and obeys stdin until that ends.
func keep(s settings, start func(context.Context, *crew) (report, error)) error {
	runtime.LockOSThread()
	c := newCrew(s.dir)
	var err error
	go func() {
		defer close(c.ask)
		defer c.end()
		ctx, cancel := context.WithTimeout(context.Background(), s.limit)
		defer cancel()
		var r report
		if r, err = start(ctx, c); err != nil {
			return
		}
		r.print()
		obey(os.Stdin, c)
	}()
	c.serve()
	if s.remove && err == nil { // the logs say why where there is an error
		err = os.RemoveAll(s.dir)
	}
	return err
}

// simulated starts a control plane with simulated nodes.
func simulated(ctx context.Context, s settings, c *crew) (report, error) {
	ports, err := freePorts(3)
	if err != nil {
		return report{}, err
	}
	p := &plane{
		dir: s.dir, address: "127.0.0.1", port: ports[0], etcd: ports[1], peer: ports[2], nodes: s.nodes, crds: s.crds, crew: c,
		extra: append(strings.Fields(s.extra), "--endpoint-reconciler-type=none"),
	}
	for _, step := range []func() error{p.prepare, func() error { return p.start(ctx) }, func() error { return p.furnish(ctx) }} {
		if err := step(); err != nil {
			return report{}, err
		}
	}
	return report{Kubeconfig: p.kubeconfigOf("admin"), Server: p.server()}, nil
}

// bySignal is what a line of stdin may do to a component: `stop kube-apiserver`, and so on.
var bySignal = map[string]syscall.Signal{"stop": syscall.SIGTERM, "kill": syscall.SIGKILL, "freeze": syscall.SIGSTOP, "thaw": syscall.SIGCONT}

// obey does what the lines of r ask for, until it ends.
func obey(r io.Reader, c *crew) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		verb, name, _ := strings.Cut(lines.Text(), " ")
		var answer report
		if err := do(c, verb, name); err != nil {
			answer.Error = err.Error()
		}
		answer.print()
	}
}

func do(c *crew, verb, name string) error {
	switch verb {
	case "start":
		return c.restart(name)
	case "stop", "kill":
		return c.stop(name, bySignal[verb])
	case "freeze", "thaw":
		return c.signal(name, bySignal[verb])
	}
	return fmt.Errorf("%q is none of start, stop, kill, freeze and thaw", verb)
}

// freePorts are ports of the loopback address that were free just now. They lie below those that the kernel gives to connections, so that
// a component which is started again finds its own still free.
func freePorts(n int) ([]int, error) {
	var out []int
	for range 50 * n {
		if len(out) == n {
			return out, nil
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000)))
		if err != nil {
			continue
		}
		defer l.Close() // all at the end, so that no port is given twice
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return nil, fmt.Errorf("no %d free ports were found from 10000 to 30000", n)
}
