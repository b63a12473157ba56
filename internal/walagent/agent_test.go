package walagent_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/covetpy/covet/internal/walagent"
	"github.com/covetpy/covet/internal/walagent/ask"
)

func serve(t *testing.T, socket string, answer func(context.Context, ask.Request) ask.Reply) (stop func()) {
	t.Helper()
	l, err := walagent.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- walagent.Serve(ctx, l, answer) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestPush(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	if _, err := ask.Push(t.Context(), socket, ask.Request{}); !errors.Is(err, ask.ErrUnavailable) {
		t.Errorf("without an agent: %v", err)
	}
	var asked atomic.Int32
	stop := serve(t, socket, func(_ context.Context, r ask.Request) ask.Reply {
		asked.Add(1)
		time.Sleep(1500 * time.Millisecond) // longer than a sign of life takes
		return ask.Reply{Outcome: "stored", Error: r.Path, Code: 7}
	})
	if _, err := walagent.Listen(socket); err == nil {
		t.Error("two agents listen on one socket")
	}
	if !ask.Running(socket) {
		t.Error("the agent isn't seen")
	}
	r, err := ask.Push(t.Context(), socket, ask.Request{Path: "/a/b", System: "1"})
	if err != nil || r.Error != "/a/b" || r.Code != 7 || r.Outcome != "stored" || asked.Load() != 1 {
		t.Errorf("%+v %v", r, err)
	}
	if st, err := os.Stat(socket); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v %v", st.Mode(), err)
	}
	stop()
	if ask.Running(socket) {
		t.Error("a stopped agent is seen")
	}
}

// What a dead agent left, and one that dies within an answer, are as good as none.
func TestDeadAgent(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	if _, err := ask.Push(t.Context(), socket, ask.Request{}); !errors.Is(err, ask.ErrUnavailable) {
		t.Errorf("an agent that died: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(socket); err != nil {
		t.Fatal(err)
	}
	stop := serve(t, socket, func(context.Context, ask.Request) ask.Reply { return ask.Reply{Declined: true} })
	defer stop()
	if r, err := ask.Push(t.Context(), socket, ask.Request{}); err != nil || !r.Declined {
		t.Errorf("behind a dead one's socket: %+v %v", r, err)
	}
}
