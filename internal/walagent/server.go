// Package walagent lets one long-lived process archive for the many short ones that PostgreSQL starts. They ask it by
// package ask.
package walagent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/covetpy/covet/internal/walagent/ask"
)

// Listen opens the agent's socket, which only its own user and root can use. A socket that a dead agent left is removed;
// one that is in use is an error.
func Listen(socket string) (net.Listener, error) {
	if c, err := net.Dial("unix", socket); err == nil {
		_ = c.Close() // it was only asked whether anybody is there
		return nil, fmt.Errorf("another agent listens on %s", socket)
	}
	if st, err := os.Lstat(socket); err == nil {
		if st.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is there and isn't a socket", socket)
		}
		if err := os.Remove(socket); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Serve answers until ctx ends, and returns when the answers under way have been given.
func Serve(ctx context.Context, l net.Listener, answer func(context.Context, ask.Request) ask.Reply) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		wg.Go(func() {
			defer func() { _ = c.Close() }() // whoever asked has the answer, or has gone
			serveOne(ctx, c, answer)
		})
	}
}

// serveOne answers one question. An asker that goes away asks again: no error is worth telling.
func serveOne(ctx context.Context, c net.Conn, answer func(context.Context, ask.Request) ask.Reply) {
	if err := c.SetReadDeadline(time.Now().Add(ask.Patience)); err != nil {
		return
	}
	line, err := bufio.NewReader(io.LimitReader(c, ask.MaxLine)).ReadBytes('\n')
	if err != nil {
		return
	}
	var r ask.Request
	if err := json.Unmarshal(line, &r); err != nil {
		_ = say(c, ask.Reply{Declined: true, Error: err.Error()})
		return
	}
	done := make(chan ask.Reply, 1)
	go func() { done <- answer(ctx, r) }()
	tick := time.NewTicker(ask.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case reply := <-done:
			_ = say(c, reply)
			return
		case <-tick.C:
			if say(c, ask.Reply{Working: true}) != nil {
				return
			}
		}
	}
}

func say(c net.Conn, r ask.Reply) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := c.SetWriteDeadline(time.Now().Add(ask.Patience)); err != nil {
		return err
	}
	_, err = c.Write(append(line, '\n'))
	return err
}
