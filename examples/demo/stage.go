package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The releases of the demonstration.
const (
	first = "v1.0.0"
	good  = "v1.1.0"
	bad   = "v1.2.0" // half of its answers are errors
)

// stage is a covetd with a folder of its own, serving the shop.
type stage struct {
	bin, dir, url string
	covetd        *exec.Cmd
	ended         chan error
}

// startStage starts covetd with the first release, and waits until it serves.
func startStage(ctx context.Context, bin string) (*stage, error) {
	dir, err := os.MkdirTemp("", "covet-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the demonstration: %w", err)
	}
	addr := freeAddress()
	s := &stage{bin: bin, dir: dir, url: "http://" + addr, ended: make(chan error, 1)}
	if err := s.start(addr); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.await(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	fmt.Printf("covetd serves shop %s in four workers on %s\n", first, s.url)
	return s, nil
}

// freeAddress is covetd's usual port where it is free, or another.
func freeAddress() string {
	for _, addr := range []string{"127.0.0.1:8000", "127.0.0.1:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		addr = l.Addr().String()
		if l.Close() == nil {
			return addr
		}
	}
	return "127.0.0.1:8000"
}

func (s *stage) start(addr string) error {
	log, err := os.Create(s.logPath())
	if err != nil {
		return fmt.Errorf("make covetd's log: %w", err)
	}
	s.covetd = exec.Command(filepath.Join(s.bin, "covetd"), "--data-dir", s.dir, "--listen", addr)
	s.covetd.Env = append(os.Environ(), "SERVICE=shop", "ENVIRONMENT=development", "APP_VERSION="+first, "APP_WORKERS=4",
		"APP_COMMAND="+filepath.Join(s.bin, "shop"), "APP_ENV=SHOP_VERSION="+first, "LOG_LEVEL=warn")
	s.covetd.Stdout, s.covetd.Stderr = log, log
	// Ctrl-C is for the demonstration, which stops covetd in order; where that dies itself, the kernel tells covetd.
	s.covetd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	err = s.covetd.Start()
	err = errors.Join(err, log.Close())
	if err != nil {
		return fmt.Errorf("start covetd: %w", err)
	}
	go func() { s.ended <- s.covetd.Wait() }()
	return nil
}

func (s *stage) logPath() string { return filepath.Join(s.dir, "covetd.log") }

func (s *stage) await(ctx context.Context) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		if resp, err := http.Get(s.url + "/health/ready"); err == nil {
			ready := resp.StatusCode == http.StatusOK
			if err := resp.Body.Close(); ready && err == nil {
				return nil
			}
		}
		select {
		case err := <-s.ended:
			s.ended <- err
			return fmt.Errorf("covetd ended: %w\n%s", err, s.log())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("covetd is not ready after 30 s\n%s", s.log())
		}
	}
}

func (s *stage) log() string {
	raw, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// close stops covetd, which stops its workers, and removes the folder.
func (s *stage) close() error {
	err := s.covetd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	select {
	case ended := <-s.ended:
		if ended != nil {
			err = errors.Join(err, fmt.Errorf("covetd: %w\n%s", ended, s.log()))
		}
	case <-time.After(40 * time.Second):
		err = errors.Join(err, errors.New("covetd did not end within 40 s"), s.covetd.Process.Kill())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// addReleases records the good and the bad release beside the first.
func (s *stage) addReleases(ctx context.Context) error {
	shop := filepath.Join(s.bin, "shop")
	if _, err := s.covetctl(ctx, false, "release", "add", good, "--instances", "4", "--env", "SHOP_VERSION="+good, "--", shop); err != nil {
		return err
	}
	_, err := s.covetctl(ctx, false, "release", "add", bad, "--instances", "4", "--env", "SHOP_VERSION="+bad, "--env", "SHOP_ERROR_RATE=0.5", "--", shop)
	return err
}

// covetctl runs one command as a person would, and returns its exit status. Shown commands print what they print.
func (s *stage) covetctl(ctx context.Context, show bool, args ...string) (int, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "covetctl"), args...)
	cmd.Env = append(os.Environ(), "COVET_DATA_DIR="+s.dir, "COVET_SOCKET="+filepath.Join(s.dir, "covetd.sock"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if show {
		fmt.Printf("\n$ covetctl %s\n", strings.Join(args, " "))
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stdout
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil && show {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return -1, fmt.Errorf("covetctl %s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return 0, nil
}

// console opens the TUI on the terminal.
func (s *stage) console(ctx context.Context) error {
	fmt.Printf("%s (good) and %s (bad) are ready to roll out: press 3 for rollouts, ? for help\n", good, bad)
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "covetctl"))
	cmd.Env = append(os.Environ(), "COVET_DATA_DIR="+s.dir, "COVET_SOCKET="+filepath.Join(s.dir, "covetd.sock"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the console: %w", err)
	}
	return nil
}
