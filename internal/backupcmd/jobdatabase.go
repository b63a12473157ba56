package backupcmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/covetpy/covet/internal/pgctl"
	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

// server is PostgreSQL in the directory.
func (j *job) server() (pgctl.Server, error) {
	s := pgctl.Server{Bin: j.f.pgBin, Dir: j.f.to, Options: j.f.pgOptions, Log: filepath.Join(j.f.to, "covet-recovery.log")}
	o, err := j.f.ownerOf()
	if err != nil {
		return s, err
	}
	s.Credential = credential(o)
	if s.Bin == "" {
		s.Bin, err = pgctl.FindBin(j.f.to)
	}
	return s, err
}

func (j *job) stopDatabase(ctx context.Context) (string, error) {
	place, err := restore.Inspect(j.f.to)
	if err != nil {
		return "", err
	}
	if place.State != restore.Running {
		return "no server ran there", nil
	}
	s, err := j.server()
	if err != nil {
		return "", err
	}
	if err := s.Stop(ctx, "fast"); err != nil {
		return "", err
	}
	return fmt.Sprintf("process %d ended", place.PID), nil
}

// copy brings the files. It may have been interrupted anywhere: what is right already stays.
func (j *job) copy(ctx context.Context) (string, error) {
	c, err := j.f.cluster(ctx)
	if err != nil {
		return "", err
	}
	m, err := c.Manifest(ctx, j.o.Backup)
	if err != nil {
		return "", err
	}
	if err := j.stillDown(ctx); err != nil {
		return "", err
	}
	place, err := restore.Inspect(j.f.to)
	if err != nil {
		return "", err
	}
	force := j.o.Service != "" || j.f.delta
	if err := restore.Allow(j.f.to, place, m.ID, force); err != nil {
		return "", err
	}
	cp := restore.Copy{Cluster: c, Manifest: m, Dir: j.f.to, Workers: j.f.workers, Existing: force || place.State != restore.Free, Report: j.report}
	if cp.Owner, err = j.f.ownerOf(); err != nil {
		return "", err
	}
	spaces, err := j.f.locations(m)
	if err != nil {
		return "", err
	}
	if err := spaces.Allow(); err != nil {
		return "", err
	}
	cp.Locations = spaces.At
	stats, err := cp.Run(ctx)
	j.stats = &stats
	return fmt.Sprintf("%s written, %s fetched, %s kept", size(stats.Written), size(stats.Fetched), size(stats.Kept)), err
}

// stillDown stops a server that somebody, or a supervisor, has started again since it was stopped, with what it has logged.
func (j *job) stillDown(ctx context.Context) error {
	place, err := restore.Inspect(j.f.to)
	if err != nil || place.State != restore.Running || j.o.Service == "" {
		return err
	}
	if _, err := j.stopDatabase(ctx); err != nil {
		return err
	}
	_, err = j.keepLog(ctx)
	return err
}

func (j *job) configure(ctx context.Context) (string, error) {
	c, err := j.f.cluster(ctx)
	if err != nil {
		return "", err
	}
	command, err := j.f.restoreCommand(c.System)
	if err != nil {
		return "", err
	}
	owner, err := j.f.ownerOf()
	if err != nil {
		return "", err
	}
	settings := restore.Settings(j.target, restore.Recovery{
		Timeline: j.o.Timeline, RestoreCommand: command, Action: restore.Action(j.f.action), ArchiveOff: j.f.archive == "off",
	})
	return "", restore.Configure(j.f.to, settings, owner)
}

// recover starts the server, where it doesn't run, and waits until it takes writes.
func (j *job) recover(ctx context.Context) (string, error) {
	s, err := j.server()
	if err != nil {
		return "", err
	}
	place, err := restore.Inspect(j.f.to)
	if err != nil {
		return "", err
	}
	if place.State != restore.Running {
		if err := s.Start(ctx); err != nil {
			return "", err
		}
	}
	began := time.Now()
	from, to := j.o.Replay.From, j.o.Replay.To
	got, err := s.Wait(ctx, func(st pgctl.State) {
		j.report(backup.Progress{Phase: "replay", Done: int64(max(st.Replayed, from) - from), Total: int64(to - from), Elapsed: time.Since(began)})
	})
	if err != nil {
		return "", err
	}
	j.reached = &reached{got.Timeline, got.LSN, got.Reason}
	return fmt.Sprintf("recovered to LSN %s (%s), now on timeline %d", got.LSN, got.Reason, got.Timeline), nil
}

// check asks the database. One that lets nobody in is no reason to keep the service down; one that says no is.
func (j *job) check(ctx context.Context) (string, error) {
	socket, port, err := socketOf(j.f.to)
	if err != nil {
		return "", err
	}
	o := pgctl.CheckOptions{Socket: socket, Port: port, User: j.f.withService.checkUser, Queries: j.f.withService.checks, Database: j.f.withService.checkDatabase}
	checks, err := pgctl.CheckServer(ctx, o)
	if err != nil && len(j.f.withService.checks) > 0 {
		return "", err
	}
	if err != nil {
		return "not checked: " + err.Error(), nil //nolint:nilerr // said in the result; the database is restored all the same
	}
	var bad []string
	for _, c := range checks {
		if !c.OK {
			bad = append(bad, c.What+": "+c.Says)
		}
	}
	if len(bad) > 0 {
		return "", fmt.Errorf("the database is not as it should be, so the service stays stopped: %s", strings.Join(bad, "; "))
	}
	return fmt.Sprintf("%d checks passed", len(checks)), nil
}

// socketOf is where the server in a directory listens, by its postmaster.pid.
func socketOf(dir string) (folder string, port uint16, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return "", 0, fmt.Errorf("find the server's socket: %w", err)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 6 {
		return "", 0, fmt.Errorf("find the server's socket: %s/postmaster.pid has only %d lines", dir, len(lines))
	}
	n, err := strconv.ParseUint(strings.TrimSpace(lines[3]), 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("find the server's socket: %w", err)
	}
	folder = strings.TrimSpace(lines[4])
	if folder == "" {
		folder = strings.TrimSpace(lines[5]) // without a socket: the address it listens on
	}
	return folder, uint16(n), nil
}
