// Command console measures covetctl's console on a Kubernetes cluster with thousands of pods, against k9s where that is on PATH:
// the time to the first frame and to the first rows, memory, what it uses while idle and while pods change, the time from a
// key to the frame that answers it, and what it asks the API server while idle.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/covetpy/covet/test/kubetest"
)

type options struct {
	covetctl, k9s string
	pods, keys    int
	idle          time.Duration
	width, height int
}

func main() {
	var o options
	flag.StringVar(&o.covetctl, "covetctl", "bin/covetctl", "the program that is measured")
	flag.StringVar(&o.k9s, "k9s", "k9s", "what it is measured against; without it only the limits are")
	flag.IntVar(&o.pods, "pods", 10_000, "pods of the service")
	flag.IntVar(&o.keys, "keys", 200, "keys to press")
	flag.DurationVar(&o.idle, "idle", 20*time.Second, "how long to look at an idle console")
	flag.IntVar(&o.width, "width", 200, "columns of the terminal")
	flag.IntVar(&o.height, "height", 60, "its rows")
	flag.Parse()
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	c, err := kubetest.Open(ctx, kubetest.Options{Nodes: 100, GiveWay: true})
	if err != nil {
		return err
	}
	err = measureOn(ctx, c, o)
	return errors.Join(err, c.Close())
}

func measureOn(ctx context.Context, c *kubetest.Cluster, o options) error {
	fmt.Printf("bench: waiting for %d pods\n", o.pods)
	if err := populate(ctx, c, o.pods); err != nil {
		return err
	}
	front, err := counting(c)
	if err != nil {
		return err
	}
	defer front.close()
	ours := contender{name: "covetctl", program: o.covetctl, args: []string{"--kubeconfig", front.kubeconfig, "--namespace", namespace, "--deployment", service}, frame: "covetctl", list: "2"}
	mine, err := ours.measure(ctx, c, front, o)
	if err != nil {
		return err
	}
	var peer *result
	if path, err := exec.LookPath(o.k9s); err == nil {
		theirs := contender{name: "k9s", program: path, args: []string{"--kubeconfig", front.kubeconfig, "-n", namespace, "-c", "pods", "--headless", "--crumbsless", "--splashless"}, frame: "pods"}
		p, err := theirs.measure(ctx, c, front, o)
		if err != nil {
			fmt.Printf("bench: k9s could not be measured: %v\n", err)
		} else {
			peer = &p
		}
	} else {
		fmt.Println("bench: k9s is not on PATH: only the limits are compared with")
	}
	report(mine, peer)
	return nil
}

// result is what was measured of one program.
type result struct {
	frame, rows      time.Duration
	rss, anon        int64
	idle, busy       float64 // of a core
	requests         float64 // a second while idle, watches that begin anew included
	changes          float64 // of pods a second, while they change
	idleKeys, keys   []time.Duration
	requestsObserved []string
}

func report(mine result, peer *result) {
	line := func(what string, of func(result) float64, unit string, limit float64) {
		v := of(mine)
		text := fmt.Sprintf("bench %-34s %9.3f %-6s", what, v, unit)
		if limit > 0 {
			text += fmt.Sprintf("  %6.2f of the limit", v/limit)
		}
		if peer != nil && of(*peer) > 0 {
			text += fmt.Sprintf("  %6.2f of k9s (%.3f)", v/of(*peer), of(*peer))
		}
		fmt.Println(text)
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	mega := func(n int64) float64 { return float64(n) / (1 << 20) }
	line("first frame", func(r result) float64 { return ms(r.frame) }, "ms", 150)
	line("first rows", func(r result) float64 { return ms(r.rows) }, "ms", 0)
	line("memory (RSS)", func(r result) float64 { return mega(r.rss) }, "MB", 80)
	line("memory of its own (anonymous)", func(r result) float64 { return mega(r.anon) }, "MB", 0)
	line("idle", func(r result) float64 { return 100 * r.idle }, "% core", 2)
	line("idle, requests", func(r result) float64 { return r.requests }, "/s", 0)
	line("key to frame, idle, p50", func(r result) float64 { return ms(percentile(r.idleKeys, 50)) }, "ms", 25)
	line("key to frame, idle, p95", func(r result) float64 { return ms(percentile(r.idleKeys, 95)) }, "ms", 25)
	line("key to frame, pods changing, p50", func(r result) float64 { return ms(percentile(r.keys, 50)) }, "ms", 25)
	line("key to frame, pods changing, p95", func(r result) float64 { return ms(percentile(r.keys, 95)) }, "ms", 25)
	line("while pods change", func(r result) float64 { return 100 * r.busy }, "% core", 0)
	line("of which there were", func(r result) float64 { return r.changes }, "/s", 0)
	if len(mine.requestsObserved) > 0 {
		fmt.Println("bench: idle requests were", strings.Join(mine.requestsObserved, ", "))
	}
}

func percentile(all []time.Duration, p int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}
