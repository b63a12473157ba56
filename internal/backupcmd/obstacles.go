package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/restore"
)

// obstacle is something that a restore would fail on, and that can be seen before anything is touched.
type obstacle struct {
	What string `json:"what"`
	Why  string `json:"why"`
	Out  string `json:"way_out"`
}

func (o obstacle) String() string { return fmt.Sprintf("%s: %s (%s)", o.What, o.Why, o.Out) }

// blocked refuses what would fail on the way.
func blocked(all []obstacle) error {
	if len(all) == 0 {
		return nil
	}
	lines := []string{fmt.Sprintf("%d things are in the way; nothing was touched:", len(all))}
	if len(all) == 1 {
		lines[0] = "something is in the way; nothing was touched:"
	}
	for _, o := range all {
		lines = append(lines, o.What+": "+o.Why+"\n  → "+o.Out)
	}
	return &exitError{errors.New(strings.Join(lines, "\n")), exitFailed}
}

// starts says whether this restore starts PostgreSQL itself.
func (f *restoreFlags) starts() bool { return f.start || f.withService.on }

// inTheWay looks for everything that the restore would fail on.
func (f *restoreFlags) inTheWay(ctx context.Context, c backup.Cluster, m *backup.Manifest, place restore.Place) ([]obstacle, error) {
	owner, err := f.ownerOf()
	if err != nil {
		return nil, err
	}
	at, err := f.locations(m)
	if err != nil {
		return nil, err
	}
	v := &viewer{ctx: ctx, f: f, cluster: c, manifest: m, place: place, owner: owner, locations: at.At, found: []obstacle{}}
	if place.State == restore.Foreign {
		v.add(f.to, "it holds something that is no data directory", "name another place, or empty it")
	}
	var bad *restore.SpaceError
	if err := at.Allow(); errors.As(err, &bad) {
		v.add("tablespaces", bad.Why, bad.Out())
	}
	v.space()
	v.placeOwned()
	v.repository()
	v.files()
	if f.starts() {
		v.shellSafe()
		v.binaries()
		v.configuration()
		v.port()
	}
	return v.found, nil
}

// viewer looks for what is in the way of one restore.
type viewer struct {
	ctx       context.Context
	f         *restoreFlags
	cluster   backup.Cluster
	manifest  *backup.Manifest
	place     restore.Place
	owner     *restore.Owner // nil: whoever runs this
	locations map[uint32]string
	found     []obstacle
}

func (v *viewer) add(what, why, out string) { v.found = append(v.found, obstacle{what, why, out}) }

// user is who runs the server, for people.
func (v *viewer) user() string {
	if v.owner == nil {
		return operator()
	}
	return v.f.owner
}

// may asks whether the server's user may read (r), write (w) or go through (x) a path, with all the folders above it.
func (v *viewer) may(mode, path string) bool {
	cmd := exec.CommandContext(v.ctx, "test", "-"+mode, path)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if c := credential(v.owner); c != nil {
		cmd.SysProcAttr = asUser(c)
	}
	err := cmd.Run()
	var exit *exec.ExitError
	return err == nil || !errors.As(err, &exit) // where nothing can be asked, nothing is held against it
}
