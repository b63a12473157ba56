// Command proxy measures what passing a request on costs: CPU time per request of covetd's balancer, of Caddy and of
// nginx in front of the same worker, over loopback with keep-alive, driven by wrk.
//
// It needs wrk; Caddy and nginx are measured where they are found (flags -caddy and -nginx). The contenders take turns
// for several rounds and the median counts, so that a busy moment of the machine does not fall on one of them alone.
//
// One line is printed for each size of answer:
//
//	bench proxy_cpu_per_request body=1024 us=… rps=… ratio_caddy=… ratio_nginx=…
//
// us is user and system time of the proxy's processes for each request in microseconds; a ratio below 1 means that ours
// takes less than the peer.
//
// With -stack it measures the runtime in process instead: a request with a token, held to limits in memory and in Redis,
// with headers, metrics, a log as JSON and gzip, against the bare router and against Caddy with headers, log and gzip:
//
//	bench stack_cpu_per_request body=24 us=… rps=… ratio_chi=… ratio_caddy=…
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type settings struct {
	covetd, caddy, nginx, wrk string

	stack       bool
	rounds      int
	duration    time.Duration
	connections int
	sizes       []int
}

func main() {
	// The program starts itself again as the worker and as the proxy under test.
	if len(os.Args) == 3 && os.Args[1] == "worker" {
		exit(serveWorker(os.Args[2]))
	}
	if len(os.Args) == 4 && os.Args[1] == "balancer" {
		exit(serveBalancer(os.Args[2], os.Args[3]))
	}
	if len(os.Args) >= 4 && (os.Args[1] == "chi" || os.Args[1] == "stack") {
		exit(serveStackContender(os.Args[1:]))
	}
	s, err := parseFlags()
	if err != nil {
		exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if s.stack {
		exit(runStack(ctx, s))
	}
	exit(run(ctx, s))
}

// serveStackContender is the program started as chi LISTEN SIZE DIR or stack LISTEN SIZE DIR REDIS.
func serveStackContender(args []string) error {
	size, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	if args[0] == "chi" {
		return serveChi(args[1], size)
	}
	return serveWhole(args[1], args[3], args[4], size)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/proxy:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parseFlags() (s settings, err error) {
	var sizes string
	flag.StringVar(&s.covetd, "covetd", "", "measure this covetd instead of the bare balancer")
	flag.StringVar(&s.caddy, "caddy", "caddy", "Caddy's program")
	flag.StringVar(&s.nginx, "nginx", "/usr/sbin/nginx", "nginx's program")
	flag.StringVar(&s.wrk, "wrk", "wrk", "wrk's program")
	flag.BoolVar(&s.stack, "stack", false, "measure the runtime's stack before an application in process, against bare chi and Caddy")
	flag.IntVar(&s.rounds, "rounds", 3, "how often each is measured")
	flag.DurationVar(&s.duration, "duration", 6*time.Second, "how long each measurement takes, in whole seconds")
	flag.IntVar(&s.connections, "connections", 32, "keep-alive connections")
	flag.StringVar(&sizes, "sizes", "1024", "sizes of the answer's body, comma-separated")
	flag.Parse()
	for f := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 0 {
			return s, fmt.Errorf("-sizes %q: %q is not a number of bytes", sizes, f)
		}
		s.sizes = append(s.sizes, n)
	}
	if s.rounds < 1 || s.duration < time.Second || s.connections < 1 {
		return s, errors.New("-rounds and -connections must be at least 1, -duration at least 1s")
	}
	return s, nil
}

// run starts the worker and all contenders once, measures them in turn, and prints.
func run(ctx context.Context, s settings) error {
	if _, err := exec.LookPath(s.wrk); err != nil {
		fmt.Println("# proxy_cpu_per_request left out: wrk is not installed (Debian: apt-get install wrk)")
		return nil
	}
	dir, err := os.MkdirTemp("", "bench-proxy-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	worker, err := startWorker(ctx, dir)
	if err != nil {
		return err
	}
	defer worker.stop()
	var running []*process
	for i, c := range contenders(s) {
		p, err := c.start(ctx, dir, worker.addr)
		if i > 0 && errors.Is(err, exec.ErrNotFound) { // a peer; without ours there is nothing to compare
			fmt.Printf("# %s left out: %v (%s)\n", c.name, err, c.hint)
			continue
		}
		if err != nil {
			return err
		}
		defer p.stop()
		running = append(running, p)
	}
	for _, size := range s.sizes {
		if err := compare(ctx, s, running, size); err != nil {
			return err
		}
	}
	return nil
}

// compare measures all contenders with one size and prints the result. The first is ours.
func compare(ctx context.Context, s settings, running []*process, size int) error {
	results := make([][]result, len(running))
	for round := range s.rounds {
		for i := range running {
			n := (i + round) % len(running) // each is first once
			running[n].path = "/" + strconv.Itoa(size)
			r, err := measure(ctx, s, running[n])
			if err != nil {
				return fmt.Errorf("%s: %w", running[n].name, err)
			}
			results[n] = append(results[n], r)
		}
	}
	var ratios strings.Builder
	ours := median(results[0])
	for i, p := range running {
		m := median(results[i])
		fmt.Printf("# %-8s body=%d us=%.2f rps=%.0f p99_us=%.0f\n", p.name, size, m.cpu, m.rps, m.p99)
		if i > 0 {
			fmt.Fprintf(&ratios, " ratio_%s=%.2f", p.name, ours.cpu/m.cpu)
		}
	}
	fmt.Printf("bench proxy_cpu_per_request body=%d us=%.2f rps=%.0f%s\n", size, ours.cpu, ours.rps, ratios.String())
	return nil
}

// median is the result in the middle by CPU time.
func median(r []result) result {
	slices.SortFunc(r, func(a, b result) int { return int(1000 * (a.cpu - b.cpu)) })
	return r[len(r)/2]
}
