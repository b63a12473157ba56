package backupcmd

import (
	"context"
	"fmt"
	"net/url"

	"github.com/covetpy/covet/internal/pgwire"
	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

// askLive asks the server whose data a restore takes away how far it is: the one that is named, or the one that runs in the
// directory. nil where there is neither.
func (f *restoreFlags) askLive(ctx context.Context, system backup.SystemID) *restore.Live {
	dsn := f.liveServer()
	if dsn == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	p, err := pgwire.ReadPosition(ctx, dsn)
	switch {
	case err != nil:
		return &restore.Live{Problem: err.Error()}
	case p.System != system:
		return &restore.Live{Problem: fmt.Sprintf("the server that answers is of another database cluster, %s", p.System)}
	}
	return &restore.Live{LSN: p.LSN, Clock: p.Clock, NextXID: p.NextXID, Quiet: p.Quiet}
}

// liveServer is how to reach it.
func (f *restoreFlags) liveServer() string {
	place, err := restore.Inspect(f.to)
	if err != nil || place.State != restore.Running {
		return Database()
	}
	folder, port, err := socketOf(f.to)
	if err != nil {
		return Database()
	}
	q := url.Values{"host": {folder}, "port": {fmt.Sprint(port)}, "user": {f.withService.checkUser}}
	return "postgres:///postgres?" + q.Encode()
}
