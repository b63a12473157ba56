package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server/config"
	"github.com/covetpy/covet/server/proxy"
	"github.com/covetpy/covet/server/workers"
)

// bootstrap makes the first release of what the configuration says is to be run. Once the journal has a release it says
// what serves, and APP_COMMAND is not asked again.
func (d *daemon) bootstrap(ctx context.Context) error {
	app := d.cfg.App
	if app.Upstream != "" {
		d.balancer.Join(proxy.Target{ID: "upstream", Release: "upstream", Addr: app.Upstream})
		return nil
	}
	if len(app.Command) == 0 {
		return nil
	}
	_, err := d.keeper.Decide(ctx, func(s rollout.State) ([]journal.Event, error) {
		if s.Stable != "" || s.Active != nil || len(s.History) > 0 {
			return nil, nil
		}
		m, err := d.manifest(app)
		if err != nil {
			return nil, fmt.Errorf("APP_COMMAND: %w", err)
		}
		return firstRelease(s, app.Version, m, time.Now())
	})
	return err
}

// manifest is what the configuration says is to be run. A program that is not there is refused before it is recorded for
// good.
func (d *daemon) manifest(app config.AppConfig) (rollout.Manifest, error) {
	dir, err := filepath.Abs(app.Dir)
	if err != nil {
		return rollout.Manifest{}, fmt.Errorf("find APP_DIR: %w", err)
	}
	path, digest, err := d.supervisor.Fingerprint(workers.Spec{Release: "first", Command: app.Command, Dir: dir, Env: app.Env})
	if err != nil {
		return rollout.Manifest{}, err
	}
	return rollout.Manifest{
		Command: append([]string{path}, app.Command[1:]...), Executable: digest, Dir: dir, Env: app.Env,
		Instances: app.Workers, ReadyPath: app.ReadyPath,
	}, nil
}

// firstRelease is the events by which the configured command becomes the stable release.
func firstRelease(s rollout.State, version string, m rollout.Manifest, now time.Time) ([]journal.Event, error) {
	if version == "" {
		version = "v0"
	}
	r, err := rollout.NewRelease(version, m, now, "configuration")
	if err != nil {
		return nil, fmt.Errorf("make the first release of APP_COMMAND: %w", err)
	}
	var events []journal.Event
	if old, known := s.Releases[version]; known && old.Digest != r.Digest {
		return nil, errors.New("APP_VERSION " + version + " is already the name of another release: choose another APP_VERSION")
	} else if !known {
		events = append(events, journal.New(now, "configuration", rollout.ReleaseAdded, version, r))
	}
	return append(events, journal.New(now, "configuration", rollout.ServiceAdopted, version, rollout.Adoption{Instances: r.Manifest.Instances})), nil
}
