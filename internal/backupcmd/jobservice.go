package backupcmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

const (
	// portPatience is how long a service may be out of reach, which starts, hands over or has just died, before a step fails.
	portPatience = time.Minute
	// standLimit bounds how long a step waits for the service to stop or to start.
	standLimit = 15 * time.Minute
)

// withService uses the service, and waits for one that can't be reached just now. What is done must bear to be done twice.
func (j *job) withService(ctx context.Context, use func(console.Port) error) error {
	for deadline := time.Now().Add(portPatience); ; {
		err := j.f.host.withPort(ctx, use)
		if err == nil || !passing(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// passing says whether an error is one that may be over in a moment.
func passing(err error) bool {
	var e *console.Error
	return errors.As(err, &e) && (e.Code == console.CodeUnreachable || errors.Is(err, errOpening) && e.Code == console.CodeLocked)
}

func (j *job) reason() string {
	r := "database restore " + j.o.ID + " to " + j.o.Target
	if j.o.Reason != "" {
		r += ": " + j.o.Reason
	}
	return r
}

func (j *job) stopService(ctx context.Context) (says string, err error) {
	err = j.withService(ctx, func(p console.Port) error {
		var ack console.Ack
		in := console.Target{ID: j.o.ID, Common: console.Common{Reason: j.reason()}}
		if err := p.Do(ctx, console.StopService, in, &ack); err != nil {
			return err
		}
		return await(ctx, p, func(st console.Status) (bool, string) {
			says = "no instance is left"
			if st.Offline {
				says = "covetd is not running; its journal says that nothing may run"
			}
			return st.Offline || st.Stopped != nil && len(st.Releases) == 0, leftOf(st)
		})
	})
	return says, err
}

// leftOf says what is still there of a service that stops.
func leftOf(st console.Status) string {
	var out []string
	for _, r := range st.Releases {
		out = append(out, fmt.Sprintf("instances of %s are still there (%d ready)", r.Version, r.Ready))
	}
	return strings.Join(append(out, st.Problems...), "; ")
}

// await waits for the service to be as wanted; done says what it isn't yet.
func await(ctx context.Context, p console.Port, done func(console.Status) (bool, string)) error {
	for deadline := time.Now().Add(standLimit); ; {
		var st console.Status
		if err := p.Ask(ctx, console.GetStatus, console.Query{}, &st); err != nil {
			return err
		}
		ok, lacks := done(st)
		switch {
		case ok:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("after %s: %s", standLimit, lacks)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (j *job) release(ctx context.Context) (says string, err error) {
	version := j.f.withService.release
	if version == "" {
		return "as before", nil
	}
	err = j.withService(ctx, func(p console.Port) error {
		var st console.Status
		if err := p.Ask(ctx, console.GetStatus, console.Query{}, &st); err != nil {
			return err
		}
		if st.Stable == version && st.Rollout == nil {
			says = version + " is the stable release"
			return nil
		}
		var ack console.Ack
		err := p.Do(ctx, console.Rollback, console.RollbackRequest{To: version, Force: true, Common: console.Common{Reason: j.reason()}}, &ack)
		says = ack.Message
		return err
	})
	return says, err
}

func (j *job) startService(ctx context.Context) (says string, err error) {
	err = j.withService(ctx, func(p console.Port) error {
		if err := j.releaseServes(ctx, p); err != nil {
			return err
		}
		var ack console.Ack
		in := console.Target{ID: j.o.ID, Common: console.Common{Reason: j.reason() + " is done"}}
		if err := p.Do(ctx, console.StartService, in, &ack); err != nil {
			return err
		}
		return await(ctx, p, func(st console.Status) (bool, string) {
			says = st.Stable + " serves"
			if st.Offline {
				says = "start covetd: " + st.Stable + " will serve"
			}
			return st.Offline || st.Stable == "" || ready(st), notReady(st)
		})
	})
	return says, err
}

// releaseServes looks whether what is about to start is what belongs to the database: somebody may have decided otherwise
// since the release was chosen.
func (j *job) releaseServes(ctx context.Context, p console.Port) error {
	var st console.Status
	version := j.f.withService.release
	if err := p.Ask(ctx, console.GetStatus, console.Query{}, &st); err != nil || version == "" || st.Stopped == nil {
		return err
	}
	if st.Stable != version || st.Rollout != nil {
		return fmt.Errorf("the service would start with %s instead of %s, which belongs to the restored database: "+
			"covetctl rollback --to %s sets that right; covetctl service start --restore %s starts all the same", serving(st), version, version, j.o.ID)
	}
	return nil
}

func serving(st console.Status) string {
	if r := st.Rollout; r != nil {
		return fmt.Sprintf("%s and %s (rollout %s)", st.Stable, r.To, r.ID)
	}
	return st.Stable
}

// ready says that what has the traffic has all its instances.
func ready(st console.Status) bool {
	got, wanted := instances(st)
	return st.Stopped == nil && wanted > 0 && got >= wanted
}

func instances(st console.Status) (ready, wanted int) {
	for _, r := range st.Releases {
		if r.Weight > 0 {
			ready, wanted = ready+r.Ready, wanted+r.Wanted
		}
	}
	return ready, wanted
}

func notReady(st console.Status) string {
	got, wanted := instances(st)
	return strings.Join(append([]string{fmt.Sprintf("%d of %d instances of %s are ready", got, wanted, st.Stable)}, st.Problems...), "; ")
}

// notePatience bounds how long a note to the journal may take where the restore doesn't depend on it.
const notePatience = 3 * time.Second

// note writes into the service's journal how the restore gets on: for the audit log, and for whoever goes on with it from
// elsewhere. On a cluster that note is the record, and must be there; elsewhere the file is, and the journal may be away.
func (j *job) note(ctx context.Context) error {
	if j.o.Platform == platformCluster {
		j.o.Noted = true
		return j.withService(ctx, func(p console.Port) error { return noteIn(ctx, p, j.o) })
	}
	ctx, cancel := context.WithTimeout(ctx, notePatience)
	defer cancel()
	if j.f.host.note(ctx, j.o) == nil {
		j.o.Noted = true
	}
	return nil
}

// platformCluster is the platform whose journal is out of the reach of what happens to this machine.
const platformCluster = "kubernetes"

func restoreState(stands, over, dropped bool) rollout.RestoreState {
	switch {
	case dropped:
		return rollout.RestoreDropped
	case over:
		return rollout.RestoreDone
	case stands:
		return rollout.RestoreStands
	}
	return rollout.RestoreRuns
}
