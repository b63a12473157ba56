package console

import (
	"context"
	"fmt"

	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

func (d *Desk) addRelease(ctx context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	in, err := parse[AddReleaseRequest](body)
	if err != nil {
		return nil, nil, err
	}
	if d.Recorder != nil {
		if in.Manifest, err = d.Recorder.Record(ctx, s, in); err != nil {
			return nil, nil, err
		}
	}
	r, err := rollout.NewRelease(in.Version, in.Manifest, d.now(), who)
	if err != nil {
		return nil, nil, fail(CodeUsage, "covetctl release add --help has examples", "release %s: %v", in.Version, err)
	}
	if old, ok := s.Releases[r.Version]; ok {
		if old.Digest == r.Digest {
			return nil, masked(old), nil
		}
		return nil, nil, fail(CodeRefused, "releases are immutable: choose another version; covetctl release show "+r.Version+" tells what it is",
			"release %s is already recorded, and it is not the same", r.Version)
	}
	if err := d.verify(ctx, r); err != nil {
		return nil, nil, err
	}
	return []journal.Event{journal.New(d.now(), who, rollout.ReleaseAdded, r.Version, r)}, masked(r), nil
}

func masked(r rollout.Release) rollout.Release {
	r.Manifest = r.Manifest.Masked()
	return r
}

func (d *Desk) verify(ctx context.Context, r rollout.Release) error {
	if d.Verifier == nil {
		return nil
	}
	if err := d.Verifier.Verify(ctx, r); err != nil {
		return fail(CodeRefused, "nothing was started; put that right, or record the release anew under another version", "release %s cannot run here: %v", r.Version, err)
	}
	return nil
}

func (d *Desk) removeRelease(_ context.Context, s rollout.State, who string, body []byte) ([]journal.Event, any, error) {
	in, err := parse[Target](body)
	if err != nil {
		return nil, nil, err
	}
	r, err := findRelease(s, in.ID)
	if err != nil {
		return nil, nil, err
	}
	if use := usedAs(s, r.Version); use != "" {
		return nil, nil, fail(CodeRefused, "roll out another release first", "release %s is %s: it cannot be removed", r.Version, use)
	}
	ack := Ack{Message: fmt.Sprintf("release %s is removed; its record stays in the audit log", r.Version)}
	if in.Plan {
		return nil, Plan{Op: RemoveRelease, Service: d.Info.Service, Env: d.Info.Environment, At: d.now(), Hash: short(r.Digest),
			Summary: "forget release " + r.Version, Undo: "add it again with the same command and environment",
			Steps: []PlanStep{{Do: "remove the record of " + r.Version + "; no instance runs it", Touches: r.Version}}}, nil
	}
	return []journal.Event{journal.New(d.now(), who, rollout.ReleaseRemoved, r.Version, nil)}, ack, nil
}

func usedAs(s rollout.State, version string) string {
	switch {
	case version == s.Stable:
		return "the stable release"
	case version == s.Previous:
		return "the release that covetctl rollback would go back to"
	case s.Warm != nil && s.Warm.Version == version:
		return "kept warm"
	case s.Active != nil && (s.Active.From == version || s.Active.To == version):
		return "part of rollout " + s.Active.ID
	}
	return ""
}
