// Command demo shows Covet at work on this machine: covetd serves a small shop in four workers under a steady load, and
// its releases are rolled out and back. With a terminal it opens the console; without one it plays by itself, and ends
// with a line that counts what happened.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/term"
)

func main() {
	runtime.LockOSThread() // covetd is told when the thread that started it ends: it must be the one that lasts
	bin := flag.String("bin", "bin", "folder with covetd, covetctl and shop")
	rate := flag.Int("rate", 200, "requests per second")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, *bin, *rate, term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run is the demonstration; whatever happens, nothing it started is left.
func run(ctx context.Context, bin string, rate int, terminal bool) (err error) {
	bin, err = filepath.Abs(bin)
	if err != nil {
		return fmt.Errorf("find the programs: %w", err)
	}
	s, err := startStage(ctx, bin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.addReleases(ctx); err != nil {
		return err
	}
	l := startLoad(s.url, rate)
	if terminal {
		return errors.Join(s.console(ctx), l.stop(time.Second))
	}
	return play(ctx, s, l)
}
