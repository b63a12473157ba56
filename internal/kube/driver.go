package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// driver carries out what the journal says for as long as there is something to carry out and nobody else does. What it does
// is fenced by the journal and by resourceVersions, so a second one does no harm; the lease keeps it from doing the same work.
type driver struct {
	port  *Port
	lease *lease
	ring  chan struct{}
	hurry chan struct{} // ends a wait for the lease

	mu      sync.Mutex
	self    bool   // this program drives now
	other   string // who else does
	always  bool   // a controller: it stands by when there is nothing to do
	trouble error
	running sync.WaitGroup
	awake   bool
	asked   bool // something was to be done since run looked last
	urgent  bool // something that must not wait for another driver was asked for
	presses bool // it is being done, or about to be, whoever holds the lease
	stop    context.CancelFunc
	signals *signals
}

func newDriver(p *Port) *driver {
	d := &driver{port: p, lease: newLease(p.client, p.at.Deployment, p.options.Holder), ring: make(chan struct{}, 1), hurry: make(chan struct{}, 1), signals: &signals{meter: p.meter}}
	d.rewire()
	return d
}

// rewire gives the engine the journal that was read anew.
func (d *driver) rewire() {
	p := d.port
	p.engine = &rollout.Engine{
		Keeper: p.keeper, Platform: d.platform(), Router: &Router{hand: p.hand}, Signals: d.signals, Matrix: p.matrix,
		Log: p.options.Log, Every: time.Second, Wake: d.ring,
	}
}

func (d *driver) platform() rollout.Platform {
	return &Platform{hand: d.port.hand, logs: newLastWords(d.port)}
}

// wake lets the driver look whether there is something to do. What is urgent is not left to another that may be dead.
func (d *driver) wake(urgent bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = true
	d.urgent = urgent && !d.self
	d.presses = d.presses || d.urgent
	if d.awake {
		d.nudge()
		if d.urgent {
			signal(d.hurry)
		}
		return
	}
	d.awake, d.asked = true, false
	ctx, stop := context.WithCancel(d.port.ctx)
	d.stop = stop
	d.running.Go(func() {
		defer stop()
		d.run(ctx)
	})
	d.running.Go(func() { d.chime(ctx) })
}

// nudge makes the engine look at once.
func (d *driver) nudge() { signal(d.ring) }

// signal rings a channel that holds one ring.
func signal(ring chan struct{}) {
	select {
	case ring <- struct{}{}:
	default:
	}
}

// chimeRest is how long changes are gathered after one that was told: a namespace that scales up by thousands of pods must not keep the
// engine looking.
const chimeRest = 20 * time.Millisecond

// chime nudges the engine whenever something that is watched has changed.
func (d *driver) chime(ctx context.Context) {
	changed := d.port.stage.bell.changed()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		changed = d.port.stage.bell.changed() // what changes while it rests is told afterwards
		d.nudge()
		pause(ctx, nil, chimeRest)
	}
}

// busy reports whether there is something that somebody must carry out.
func (d *driver) busy() bool {
	s := d.port.state()
	if s.Active != nil {
		return true
	}
	return s.Warm != nil || d.port.hand.unfinished(s) || d.port.hand.restless(s)
}

// run drives until there is nothing left to do.
func (d *driver) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !d.always && !d.busy() && d.sleeps() {
			return
		}
		if d.pressed() {
			d.drive(ctx, true)
			d.settled()
			continue
		}
		displaced, err := d.lease.take(ctx, now(), false)
		d.note(err)
		if err != nil {
			pause(ctx, d.hurry, leaseRenew)
			continue
		}
		d.fence(ctx, displaced)
		d.drive(ctx, false)
		if !d.busy() && ctx.Err() == nil {
			d.port.prune(ctx)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.awake, d.self = false, false
}

// pressed reports, once, whether what was asked for is to be done now, whoever holds the lease.
func (d *driver) pressed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.presses = d.urgent && d.port.state().Active != nil
	d.urgent = false
	return d.presses
}

// settled says that what was urgent is done, or that the lease decides again who does it.
func (d *driver) settled() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.presses = d.urgent
}

// pressing reports whether something is done without waiting for whoever holds the lease.
func (d *driver) pressing() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.presses
}

// sleeps ends the driver's work, unless it was asked for more meanwhile.
func (d *driver) sleeps() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asked {
		d.asked = false
		return false
	}
	d.awake, d.self = false, false
	return true
}

func (d *driver) note(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.self, d.trouble, d.other = err == nil, nil, ""
	switch {
	case errors.Is(err, errHeld):
		d.other = err.Error()
	case err != nil:
		d.trouble = err
	}
}

func pause(ctx context.Context, ring <-chan struct{}, longest time.Duration) {
	t := time.NewTimer(longest)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-ring:
	case <-t.C:
	}
}

// drive runs the engine for as long as the lease is ours. What presses begins before the lease is: it is taken by force
// meanwhile, and whoever held it is fenced off.
func (d *driver) drive(ctx context.Context, presses bool) {
	p := d.port
	engine, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	e := p.driven()
	go func() {
		defer close(ended)
		_ = e.Run(engine) // it ends when it is told to, and tells its problems by Problem
	}()
	defer func() {
		stop()
		<-ended
	}()
	k := &keeping{driver: d, force: presses, renewed: now()}
	renew := time.NewTimer(leaseRenew)
	if presses {
		renew.Reset(0)
	}
	defer renew.Stop()
	idle := time.NewTicker(200 * time.Millisecond)
	defer idle.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
			if !k.force && (p.driven() != e || !d.always && !d.busy()) {
				return
			}
		case <-renew.C:
			if !k.renew(ctx) {
				return
			}
			renew.Reset(k.pause())
		}
	}
}

// keeping is the lease while it is driven under.
type keeping struct {
	driver  *driver
	force   bool // it has yet to be taken from whoever holds it
	renewed time.Time
}

// renew keeps the lease ours. It reports whether to drive on.
func (k *keeping) renew(ctx context.Context) bool {
	d := k.driver
	displaced, err := d.lease.take(ctx, now(), k.force)
	switch {
	case err == nil:
		k.renewed, k.force = now(), false
		d.note(nil)
		d.fence(ctx, displaced)
	case errors.Is(err, errHeld) && !k.force || now().Sub(k.renewed) > leaseDuration:
		d.note(err)
		return false
	}
	return ctx.Err() == nil
}

// pause is how soon the lease is to be renewed.
func (k *keeping) pause() time.Duration {
	if k.force {
		return 100 * time.Millisecond // it changed hands just then
	}
	return leaseRenew
}

// fence makes sure that whoever drove before cannot write any more from what they saw then, be they only slow, or frozen.
func (d *driver) fence(ctx context.Context, displaced string) {
	if displaced == "" {
		return
	}
	d.port.options.Log.Info("the rollout is taken over", "from", displaced)
	if err := d.port.hand.fence(ctx); err != nil && ctx.Err() == nil {
		d.port.options.Log.Warn("a driver that was taken over from could not be fenced off; its journal still is", "from", displaced, "error", err)
	}
}

// problems says what keeps the work from going on.
func (d *driver) problems() []string {
	d.mu.Lock()
	self, trouble, other := d.self, d.trouble, d.other
	d.mu.Unlock()
	var out []string
	if self {
		if err := d.port.driven().Problem(); err != nil && !errors.Is(err, rollout.ErrHeld) {
			out = append(out, fmt.Sprintf("the rollout cannot go on, and is tried again: %v", err))
		}
	}
	if trouble != nil {
		out = append(out, fmt.Sprintf("nobody can be said to drive: %v", trouble))
	}
	s := d.port.state()
	if !self && d.port.hand.restless(s) && d.deserted() {
		what := "start"
		if s.Stopped != nil {
			what = "stop"
		}
		out = append(out, fmt.Sprintf("nobody carries out that the service is to %s: covetctl service %s does, or covetctl restore resume", what, what))
	}
	if self || other != "" || s.Active == nil && (s.Warm != nil || !d.port.hand.untidy()) {
		return out
	}
	if d.deserted() {
		what := "the end of the last rollout"
		if s.Active != nil {
			what = s.Active.ID
		}
		out = append(out, fmt.Sprintf("nobody carries out %s: covetctl rollout resume takes it over; the traffic stays as it is meanwhile", what))
	}
	return out
}

// deserted reports whether nobody holds the lease who was alive a moment ago. It may ask the API server: first see whether it matters.
func (d *driver) deserted() bool {
	h, err := d.lease.seen(d.port)
	return err == nil && !h.fresh(now())
}

// close lets the lease go, so that the next driver need not wait.
func (d *driver) close() error {
	d.mu.Lock()
	stop := d.stop
	d.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	d.running.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return d.lease.release(ctx)
}

// Drives reports whether this program carries out what was asked for, and who does otherwise, as the lease has it.
func (p *Port) Drives(ctx context.Context) (self bool, who string) {
	h, err := p.driver.lease.read(ctx)
	if err == nil && h.by != p.options.Holder && h.fresh(now()) && !p.driver.pressing() {
		return false, h.by
	}
	return true, ""
}

// Carries is Drives, but sure: a lease outlives whoever held it, so it waits, after telling unsure of whom, until they have renewed it, or
// have not for as long as it lasts. A controller that was there a moment ago is believed: its pod is started again.
// What cannot wait for whoever holds the lease is carried out here: who is from whom it is taken.
func (p *Port) Carries(ctx context.Context, unsure func(who string, longest time.Duration)) (self bool, who string) {
	var first held
	for ctx.Err() == nil {
		h, err := p.driver.lease.read(ctx)
		if err != nil || h.by == p.options.Holder || !h.fresh(now()) {
			return true, ""
		}
		if p.driver.pressing() {
			return true, h.by
		}
		switch late := now().Sub(h.renewed); {
		case h.controls() && late.Abs() < leaseRenew+leaseRenew/2, first.by == h.by && !first.renewed.Equal(h.renewed):
			return false, h.by
		case first.by == "":
			unsure(h.by, max(min(leaseDuration-late, leaseDuration).Round(time.Second), time.Second))
		}
		first = h
		pause(ctx, nil, 200*time.Millisecond)
	}
	return true, ""
}

// Finish waits until everything is done that nobody else would do: a release that stays warm is left so, and said.
func (p *Port) Finish(ctx context.Context) (string, error) {
	if self, _ := p.Carries(ctx, func(string, time.Duration) {}); !self {
		return "", nil
	}
	p.driver.wake(false)
	for {
		changed := p.stage.bell.changed()
		s := p.state()
		switch {
		case s.Active == nil && s.Warm == nil && !p.hand.unfinished(s):
			return "", nil
		case s.Active == nil && s.Warm != nil:
			return fmt.Sprintf("%s stays warm until %s, so that going back takes no time; without a covetd controller it stays until the next rollout, or covetctl rollout resume, lets it go",
				s.Warm.Version, s.Warm.Until.Local().Format("15:04:05")), nil
		}
		t := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			t.Stop()
			return "", ctx.Err()
		case <-changed:
		case <-t.C:
		}
		t.Stop()
	}
}

// letGo ends the time that a release is kept warm.
func (p *Port) letGo(ctx context.Context) error {
	p.mu.Lock()
	k := p.keeper
	p.mu.Unlock()
	_, err := k.Decide(ctx, func(s rollout.State) ([]journal.Event, error) {
		if s.Active != nil || s.Warm == nil {
			return nil, nil
		}
		return []journal.Event{journal.New(now(), p.caller.Name, rollout.WarmRetired, s.Warm.Version, nil)}, nil
	})
	return err
}
