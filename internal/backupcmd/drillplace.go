package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/covetpy/covet/internal/pgctl"
	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

// A drill's folder has scratchPrefix, and in it scratchMark for as long as it is to be removed at the end. The drill holds the
// folder while it lives: one with the mark that nobody holds is that of a drill which was killed.
const (
	scratchPrefix = "covet-drill-"
	scratchMark   = "scratch"
)

// scratch is the place of a drill.
type scratch struct {
	root    string
	server  pgctl.Server
	owner   *restore.Owner
	spaces  map[uint32]string
	release func() error
}

func (f *drillFlags) scratch(m *backup.Manifest) (*scratch, error) {
	root, err := os.MkdirTemp(f.dir, scratchPrefix)
	if err != nil {
		return nil, fmt.Errorf("make the scratch folder: %w", err)
	}
	s := &scratch{root: root, spaces: map[uint32]string{}}
	if s.release, err = restore.Hold(root); err == nil && !f.keep {
		err = os.WriteFile(filepath.Join(root, scratchMark), nil, 0o600)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the scratch folder: %w", err), os.RemoveAll(root))
	}
	s.server = pgctl.Server{Bin: f.pgBin, Dir: filepath.Join(root, "data"), Log: filepath.Join(root, "log")}
	for _, t := range m.Tablespaces {
		s.spaces[t.OID] = filepath.Join(root, "tablespaces", fmt.Sprint(t.OID))
	}
	if s.server.Bin == "" {
		if s.server.Bin, err = pgctl.FindBinFor(fmt.Sprint(m.PGVersion / 10000)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(root))
		}
	}
	if os.Geteuid() != 0 {
		return s, nil
	}
	if s.owner, err = lookup(f.owner); err == nil {
		err = os.Chown(root, s.owner.UID, s.owner.GID)
		s.server.Credential = credential(s.owner)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(root))
	}
	return s, nil
}

// start starts the server shut off from everything: no network, its own access rules, nothing preloaded. Where the
// configuration isn't in the data directory, as with Debian, it gets only what replaying the log demands.
func (s *scratch) start(ctx context.Context) error {
	hba := filepath.Join(s.root, "hba.conf")
	if err := restore.WriteFile(hba, []byte("local all all trust\n"), s.owner); err != nil {
		return err
	}
	options := []string{
		"listen_addresses=", "unix_socket_directories=" + s.root, "port=5432", "hba_file=" + hba, "ssl=off",
		"logging_collector=off", "shared_preload_libraries=", "archive_mode=off", "cluster_name=covet-drill",
	}
	conf := filepath.Join(s.server.Dir, "postgresql.conf")
	if _, err := os.Stat(conf); err != nil {
		st, err := s.server.Control(ctx)
		if err != nil {
			return err
		}
		for name, value := range st.Needs {
			options = append(options, name+"="+value)
		}
		if err := restore.WriteFile(conf, nil, s.owner); err != nil {
			return err
		}
	}
	slices.Sort(options)
	for _, o := range options {
		s.server.Options += " -c " + shell(o)
	}
	return s.server.Start(ctx)
}

// sweep removes what drills in the same place that were killed have left, and stops their servers.
func (s *scratch) sweep(ctx context.Context) error {
	marks, err := filepath.Glob(filepath.Join(filepath.Dir(s.root), scratchPrefix+"*", scratchMark))
	for _, mark := range marks {
		dead := *s
		if dead.root = filepath.Dir(mark); dead.root == s.root {
			continue
		}
		var holdErr error
		if dead.release, holdErr = restore.Hold(dead.root); errors.Is(holdErr, restore.ErrAtWork) || errors.Is(holdErr, fs.ErrPermission) {
			continue // a drill at work, or somebody else's
		}
		if holdErr != nil {
			err = errors.Join(err, holdErr)
			continue
		}
		dead.server.Dir = filepath.Join(dead.root, "data")
		err = errors.Join(err, dead.remove(ctx))
	}
	return err
}

// remove stops the server, where it runs, and removes everything.
func (s *scratch) remove(ctx context.Context) error {
	var err error
	if p, inspectErr := restore.Inspect(s.server.Dir); inspectErr != nil {
		err = inspectErr
	} else if p.State == restore.Running {
		err = s.server.Stop(ctx, "immediate")
	}
	return errors.Join(err, os.RemoveAll(s.root), s.release())
}
