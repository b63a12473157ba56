// Command demok8s shows Covet at work on Kubernetes: a cluster of its own on this machine, with real pods where the kernel lets
// it and simulated ones elsewhere, in which a service is rolled out and back through covetctl under load. With a terminal it
// opens the console; without one it plays by itself, and ends with a line that counts what happened.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"
)

func main() {
	bin := flag.String("bin", "bin", "folder with covetctl")
	simulated := flag.Bool("simulated", false, "simulated pods, even where real ones could run")
	playing := flag.Bool("play", false, "play, even with a terminal")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	terminal := !*playing && term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd()))
	err := run(ctx, *bin, *simulated, terminal)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo-k8s:", err)
		os.Exit(1)
	}
}

// run is the demonstration; whatever happens, nothing it started is left.
func run(ctx context.Context, bin string, simulated, terminal bool) (err error) {
	if bin, err = filepath.Abs(bin); err != nil {
		return fmt.Errorf("find covetctl: %w", err)
	}
	began := time.Now()
	s, err := startStage(ctx, filepath.Join(bin, "covetctl"), simulated)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	fmt.Printf("the cluster and the service are up after %s\n  export KUBECONFIG=%s\n", time.Since(began).Round(100*time.Millisecond), s.cluster.Kubeconfig)
	if terminal {
		return s.console(ctx)
	}
	return s.play(ctx)
}

// console opens covetctl's.
func (s *stage) console(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, s.covetctl, s.flags()...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
