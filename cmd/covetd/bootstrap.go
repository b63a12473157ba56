package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/server"
	"github.com/covetpy/covet/server/proxy"
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
		return firstRelease(s, app, time.Now())
	})
	return err
}

// firstRelease is the events by which the configured command becomes the stable release.
func firstRelease(s rollout.State, app server.AppConfig, now time.Time) ([]journal.Event, error) {
	version := app.Version
	if version == "" {
		version = "v0"
	}
	dir, err := filepath.Abs(app.Dir)
	if err != nil {
		return nil, fmt.Errorf("the directory of APP_COMMAND: %w", err)
	}
	r, err := rollout.NewRelease(version, rollout.Manifest{
		Command: app.Command, Dir: dir, Env: app.Env, Instances: app.Workers, ReadyPath: app.ReadyPath,
	}, now, "configuration")
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
