package backupcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/internal/walagent"
	"github.com/covetpy/covet/internal/walagent/ask"
	"github.com/covetpy/covet/ops/backup"
)

// agentFlags say where the agent is.
type agentFlags struct{ socket string }

func (f *agentFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.socket, "agent", cmp.Or(os.Getenv("COVET_WAL_AGENT"), ask.DefaultSocket), "socket of covetctl wal agent, used where one listens; empty: none (COVET_WAL_AGENT)")
}

func agentCommand() *cobra.Command {
	var f archiveFlags
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Archive for covetctl wal push, in one process that stays",
		Long: `Archive for covetctl wal push, in one process that stays: it keeps its connections, and has archived most files before
PostgreSQL asks for them. With --spool it also empties the spool all the time. When it isn't there, covetctl wal push does
the work itself, with the same result.

Run it as the user that the server runs as, with the same settings as the archive_command.`,
		Example: `  covetctl wal agent
  covetctl wal agent --agent /run/postgresql/covet.sock --spool /var/spool/covet`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return failed(f.serve(cmd)) },
	}
	f.add(cmd)
	return cmd
}

func (f *archiveFlags) serve(cmd *cobra.Command) error {
	if f.socket == "" {
		return usage(errors.New("say where to listen with --agent"))
	}
	if _, err := f.codec(); err != nil {
		return err
	}
	repo, err := f.open(cmd.Context())
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(agentHeap)
	if err := os.MkdirAll(filepath.Dir(f.socket), 0o755); err != nil {
		return fmt.Errorf("listen on %s: %w", f.socket, err)
	}
	l, err := walagent.Listen(f.socket)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", f.socket, err)
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	a := &agent{f: f, ctx: ctx, repo: repo, err: cmd.ErrOrStderr(), archivers: map[backup.SystemID]*backup.Archiver{}, agreed: map[string]bool{}}
	var wg sync.WaitGroup
	if f.spool() != nil {
		wg.Go(a.drain)
	}
	err = walagent.Serve(ctx, l, a.answer)
	cancel()
	wg.Wait()
	return err
}

// agentHeap is what the agent's garbage is collected to fit in, so that a process which stays takes no more than a backup does.
const agentHeap = 64 << 20

// agent archives for the processes that ask it.
type agent struct {
	f   *archiveFlags
	ctx context.Context //nolint:containedctx // of the process: what was begun goes on when the asker has gone
	err io.Writer

	mu        sync.Mutex
	repo      backup.Repository
	archivers map[backup.SystemID]*backup.Archiver
	agreed    map[string]bool // invocations whose settings are the agent's
}

// manyInvocations is more than the servers of one machine have archive_commands.
const manyInvocations = 100

// agrees says whether an asker has the agent's settings: it says which it has, or is of an invocation that has said so.
func (a *agent) agrees(r ask.Request) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Settings == "" {
		return a.agreed[r.Invocation]
	}
	if r.Settings != a.f.settings() {
		return false
	}
	if len(a.agreed) >= manyInvocations {
		clear(a.agreed)
	}
	if r.Invocation != "" {
		a.agreed[r.Invocation] = true
	}
	return true
}

// answer archives one file.
func (a *agent) answer(_ context.Context, r ask.Request) ask.Reply {
	if !a.agrees(r) {
		return ask.Reply{Declined: true, Error: "the agent has other settings"}
	}
	id, err := backup.ParseSystemID(r.System)
	if err != nil || !filepath.IsAbs(r.Path) {
		return ask.Reply{Declined: true, Error: fmt.Sprintf("no file of a server: %s, %s", r.Path, r.System)}
	}
	archiver, err := a.archiver(id)
	if err != nil {
		return ask.Reply{Declined: true, Error: err.Error()}
	}
	outcome, err := archiver.Archive(a.ctx, r.Path)
	switch {
	case err == nil:
		return ask.Reply{Outcome: string(outcome)}
	case errors.Is(err, fs.ErrPermission) || a.ctx.Err() != nil:
		return ask.Reply{Declined: true, Error: err.Error()}
	}
	a.renew()
	var e ExitError
	code := exitFailed
	if errors.As(failed(err), &e) {
		code = e.ExitCode()
	}
	return ask.Reply{Error: fmt.Sprintf("archive %s: %v", filepath.Base(r.Path), err), Code: code}
}

func (a *agent) archiver(id backup.SystemID) (*backup.Archiver, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if got := a.archivers[id]; got != nil {
		return got, nil
	}
	made, err := a.f.archiver(a.repo.Cluster(a.f.service, id))
	if err == nil {
		a.archivers[id] = made
	}
	return made, err
}

// renew opens the repository again after a failure, with the credentials and authorities that are there now.
func (a *agent) renew() {
	repo, err := a.f.open(a.ctx)
	if err != nil {
		return // it was good when the agent started: what is there goes on
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.repo = repo
	clear(a.archivers)
}

func (a *agent) repository() backup.Repository {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.repo
}

// drain empties the spool whenever there is something in it.
func (a *agent) drain() {
	pause := time.Second
	for a.ctx.Err() == nil {
		_, err := a.f.drainOnce(a.ctx, a.repository(), a.f.spool())
		switch {
		case err == nil || errors.Is(err, backup.ErrLocked):
			pause = time.Second
		case a.ctx.Err() == nil:
			_, _ = fmt.Fprintln(a.err, "covetctl wal agent:", err) // wal status tells it too
			a.renew()
			pause = min(2*pause, 30*time.Second)
		}
		select {
		case <-time.After(pause):
		case <-a.ctx.Done():
		}
	}
}
