package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/health"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// Options is who opens a service, and how.
type Options struct {
	Version string       // of this program
	Log     *slog.Logger // slog.DiscardHandler's if nil
	Holder  string       // how the lease names this program; "covetctl HOST PID" if empty
	Images  Resolver     // finds the digests of images; nil for none
	Once    bool         // an API server that is away is an error at once: whoever opens it tries again
}

// Port is the console of a service on Kubernetes. It needs nothing but the API server: what it knows is watched, what was
// decided is in the journal there, and where nobody else carries that out, it does itself. It implements console.Port and
// console.Cluster. Safe for concurrent use.
type Port struct {
	target  Target
	at      located
	options Options
	client  *client
	stage   *stage
	sight   *sight
	hand    *hand
	records *records
	ledger  *ledger
	caller  console.Caller
	roles   *rolesKeeper
	matrix  health.Matrix

	mu     sync.Mutex
	keeper *rollout.Keeper
	desk   *console.Desk

	turned atomic.Bool // it was told to stop or to start the service, and keeps it so

	replaced chan struct{} // closed when the keeper and the desk are

	driver  *driver
	meter   *meter
	sweeper *sweeper
	engine  *rollout.Engine
	around  *around
	recent  recent

	ctx     context.Context // of everything in the background
	stop    context.CancelFunc
	running sync.WaitGroup
}

// Open finds the service, reads its journal and begins to watch it.
func Open(ctx context.Context, t Target, o Options) (*Port, error) {
	at, err := t.resolve()
	if err != nil {
		return nil, err
	}
	c, err := newClient(at)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Holder == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		o.Holder = fmt.Sprintf("covetctl %s %d", host, os.Getpid())
	}
	p := &Port{target: t, options: o, client: c, matrix: health.DefaultMatrix()}
	p.roles = &rolesKeeper{client: c}
	asked := make(chan console.Caller, 1)
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = p.roles.get(ctx) // who needs the answer asks again, and is told what is wrong
	}()
	go func() { asked <- c.whoami(ctx, at.user) }()
	if p.stage, err = openStage(ctx, c, at, o.Once); err != nil {
		return nil, err
	}
	p.at, p.caller = p.stage.at, <-asked
	<-read // an open console asks nothing any more
	p.ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := p.wire(ctx); err != nil {
		p.stop()
		p.stage.close()
		return nil, err
	}
	p.running.Go(func() { p.follow(p.ctx) })
	return p, nil
}

// wire puts the parts together.
func (p *Port) wire(ctx context.Context) error {
	p.records = newRecords(p.client, p.at.Deployment)
	p.sweeper = &sweeper{port: p, age: youngest}
	p.sight = &sight{stage: p.stage, state: p.state}
	p.hand = &hand{sight: p.sight, records: p.records}
	if err := p.reload(ctx); err != nil {
		return err
	}
	p.meter = newMeter(p.sight, newScraper(p.client, p.at), p.at.Metrics, p.matrix)
	p.driver = newDriver(p)
	return nil
}

// state is what the journal says now.
func (p *Port) state() rollout.State {
	p.mu.Lock()
	k := p.keeper
	p.mu.Unlock()
	if k == nil {
		return rollout.State{}
	}
	return k.State()
}

// reload reads the journal anew, with what is found beyond it.
func (p *Port) reload(ctx context.Context) error {
	l := &ledger{Journal: newJournal(p.client, p.at.Deployment), records: p.records}
	l.watched = p.stage.head
	keeper, err := rollout.OpenKeeper(ctx, l)
	if err != nil {
		return err
	}
	found := &sight{stage: p.stage, state: keeper.State}
	if err := l.discover(ctx, keeper.State(), found, p.caller.Name); err != nil {
		return err
	}
	if len(l.pending()) > 0 {
		if err := keeper.CatchUp(ctx); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger, p.keeper = l, keeper
	if p.replaced != nil {
		close(p.replaced)
	}
	p.replaced = make(chan struct{})
	p.desk = &console.Desk{
		Keeper: keeper, Live: live{p}, Verifier: p, Surveyor: p, Recorder: p, Sweeper: p.sweeper, Matrix: p.matrix, Log: p.options.Log, Roles: p.roles.get,
		Info: console.Info{Service: p.at.Deployment, Environment: p.at.Environment, Platform: "kubernetes", Version: p.options.Version},
	}
	if p.driver != nil {
		p.driver.rewire()
	}
	return nil
}

func (p *Port) current() *console.Desk {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.desk
}

// follow reads what others write to the journal as soon as the watch tells of it.
func (p *Port) follow(ctx context.Context) {
	looked := p.drift()
	for {
		changed := p.stage.shape.changed()
		err := p.catchUp(ctx)
		if drift := p.drift(); err == nil && drift != looked {
			if looked = drift; drift != "" {
				err = p.reload(ctx)
			}
		}
		if p.turned.Load() && p.hand.restless(p.state()) {
			p.driver.wake(false)
		}
		if err != nil && ctx.Err() == nil {
			p.options.Log.Warn("the journal could not be read; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// drift is the hash of what somebody else has put into the primary while nothing was under way, or empty.
func (p *Port) drift() string {
	if p.sight.held(p.state()) {
		return ""
	}
	if l := p.sight.layout(now()); l.rest && l.adrift() {
		return l.slots[primary].hash
	}
	return ""
}

func (p *Port) catchUp(ctx context.Context) error {
	p.mu.Lock()
	l, k := p.ledger, p.keeper
	p.mu.Unlock()
	h, ok := p.stage.head.get(l.headName())
	if !ok {
		return nil
	}
	text, _, err := unstructured.NestedString(h.Object, "data", "last")
	if err != nil {
		return err
	}
	var last journal.Seq
	if _, err := fmt.Sscan(text, &last); err != nil {
		return fmt.Errorf("the journal's last number is %q: %w", text, err)
	}
	if pending := l.pending(); len(pending) > 0 && last >= pending[0].Seq {
		return p.reload(ctx)
	}
	if last <= k.State().Seq {
		return nil
	}
	return k.CatchUp(ctx)
}

// Close ends what this program does for the service. The service goes on as it is.
func (p *Port) Close() error {
	p.stop()
	p.running.Wait()
	err := p.driver.close()
	p.stage.close()
	return err
}

// Ask implements console.Port.
func (p *Port) Ask(ctx context.Context, op console.Op, q console.Query, out any) error {
	answer, err := p.current().Ask(ctx, op, q)
	if err != nil {
		return err
	}
	return console.Answer(answer, out)
}

// Do implements console.Port. What it leads to is carried out by whoever drives: the controller, or this program.
func (p *Port) Do(ctx context.Context, op console.Op, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	if err := p.fit(ctx, op); err != nil {
		return err
	}
	if s := p.state(); op == console.ResumeRollout && s.Active == nil && (s.Warm != nil || p.hand.unfinished(s)) {
		return p.resumeEnd(ctx, out)
	}
	answer, err := p.give(ctx, op, body)
	if err != nil {
		return inWords(string(op), err)
	}
	if err := p.after(ctx, op, answer); err != nil {
		return inWords(string(op), err)
	}
	if ack, ok := answer.(console.Ack); ok && (ack.Rollout != nil || p.turned.Load()) {
		if err := p.reach(ctx, ack.Seq); err != nil {
			return inWords(string(op), err)
		}
		p.driver.wake(op == console.Rollback || op == console.AbortRollout)
	}
	return console.Answer(answer, out)
}

// after does what comes with a command beside what the driver does.
func (p *Port) after(ctx context.Context, op console.Op, answer any) error {
	switch op {
	case console.StopService, console.StartService:
		p.turned.Store(true)
	case console.PruneReleases:
		if _, done := answer.(console.Ack); done {
			return p.sweeper.sweep(ctx)
		}
	}
	return nil
}

// reach makes sure that the state in use knows the event, which another one may have written just before it was replaced.
func (p *Port) reach(ctx context.Context, seq journal.Seq) error {
	p.mu.Lock()
	k := p.keeper
	p.mu.Unlock()
	if k.State().Seq >= seq {
		return nil
	}
	return k.CatchUp(ctx)
}

// driven is the engine over the journal in use.
func (p *Port) driven() *rollout.Engine {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.engine
}

// resumeEnd takes up what a rollout that is over has left: a release that is kept warm is let go, and everything put in order.
func (p *Port) resumeEnd(ctx context.Context, out any) error {
	if err := p.letGo(ctx); err != nil {
		return inWords(string(console.ResumeRollout), err)
	}
	p.driver.wake(false)
	s := p.state()
	return console.Answer(console.Ack{Seq: s.Seq, Message: fmt.Sprintf("%s is brought home to Deployment %s, and nothing else is left", s.Stable, p.at.Deployment)}, out)
}

// give gives a command to the desk; once more where the journal turned out to know better what runs.
func (p *Port) give(ctx context.Context, op console.Op, body []byte) (any, error) {
	for range 3 {
		answer, err := p.current().Do(ctx, p.caller, op, body)
		var known *console.Error
		if err == nil || !errors.As(err, &known) || known.Code != console.CodeInternal || !p.overtaken() {
			return answer, err
		}
		if err := p.reload(ctx); err != nil {
			return nil, err
		}
	}
	return nil, &console.Error{Code: console.CodeLocked, Message: "others change the service at the same time", Hint: "covetctl status shows what they did; then try again"}
}

// overtaken reports whether what was found here has been written by another meanwhile.
func (p *Port) overtaken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.ledger.pending()) > 0
}

// changing are the commands that change what runs.
var changing = []console.Op{console.StopService, console.StartService, console.StartRollout, console.RetryRollout, console.Rollback, console.Promote, console.ResumeRollout}

// fit refuses what must not be done to the Deployment at all.
func (p *Port) fit(ctx context.Context, op console.Op) error {
	if !slices.Contains(changing, op) {
		return nil
	}
	o, ok := p.stage.deployment(primary)
	if !ok {
		return &console.Error{Code: console.CodeNotFound, Message: fmt.Sprintf("Deployment %s is gone from namespace %s", p.at.Deployment, p.at.Namespace),
			Hint: "apply its manifest again; the releases' records are still there: covetctl release list"}
	}
	if why := unadoptable(o); why != "" {
		return &console.Error{Code: console.CodeRefused, Message: fmt.Sprintf("Deployment %s is not Covet's to change: %s", p.at.Deployment, why)}
	}
	if !p.overtaken() {
		return nil
	}
	if others := p.client.rivalsOf(ctx, p.at.Deployment); len(others) > 0 { // before it is taken up; later a rollback waits for no question
		return &console.Error{Code: console.CodeRefused, Message: fmt.Sprintf("Deployment %s is not taken up: %s", p.at.Deployment, strings.Join(others, "; "))}
	}
	return nil
}

// Watch implements console.Port.
func (p *Port) Watch(ctx context.Context, after journal.Seq) iter.Seq2[console.Update, error] {
	return func(yield func(console.Update, error) bool) {
		for ctx.Err() == nil {
			desk, replaced := p.present()
			within, stop := context.WithCancel(ctx)
			go func() {
				select {
				case <-replaced:
					stop()
				case <-within.Done():
				}
			}()
			for u, err := range desk.Watch(within, after) {
				if u.Event != nil {
					after = u.Event.Seq
				}
				if !yield(u, err) || err != nil && within.Err() == nil {
					stop()
					return
				}
			}
			stop()
		}
	}
}

// present is the desk there is now, and what is closed when another takes its place.
func (p *Port) present() (*console.Desk, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.desk, p.replaced
}

// Verify implements console.Verifier: what a release needs must still be there.
func (p *Port) Verify(ctx context.Context, r rollout.Release) error {
	if r.Manifest.Workload == nil {
		return errors.New("it is not a release of Kubernetes")
	}
	if p.overtaken() && p.isDraft(r.Manifest.Workload.Record) {
		return nil // it is made of what is there now
	}
	if l := p.sight.layout(now()); len(l.hosts(r.Version)) > 0 && l.slots[l.hosts(r.Version)[0]].complete {
		return nil // it runs: nothing has to be made for it, and an emergency need not ask
	}
	rec, err := p.records.get(ctx, r.Manifest.Workload.Record)
	if err != nil {
		return err
	}
	gone, err := p.records.missing(ctx, rec)
	if err != nil {
		return err
	}
	if len(gone) > 0 {
		return fmt.Errorf("its configuration is gone: %v", gone)
	}
	return nil
}

func (p *Port) isDraft(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.ledger.drafts, func(d draft) bool { return d.name(p.at.Deployment) == name })
}

// Where is what is looked at, for people.
func (p *Port) Where() string {
	return "kubernetes:" + p.at.Context + "/" + p.at.Namespace + "/" + p.at.Deployment
}

// Deployment is the name of the service.
func (p *Port) Deployment() string { return p.at.Deployment }

// Who is whom the API server takes the caller for.
func (p *Port) Who() string { return p.caller.Name }

// Unfinished says what nobody carries out once this program has ended, or nothing.
func (p *Port) Unfinished() string {
	s := p.state()
	if s.Active == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(p.ctx, 2*time.Second) // whoever leaves doesn't wait for a dead cluster
	defer cancel()
	if self, _ := p.Drives(ctx); !self {
		return ""
	}
	return s.Active.ID
}

// Check looks at everything that covetctl needs here, and says what is missing.
func (p *Port) Check(ctx context.Context) (missing []string, err error) {
	return p.client.missing(ctx, permissions(true, p.stage.myRoutes()))
}

// Cut is why nothing is heard of the service any more, or nil: what is shown is as it was.
func (p *Port) Cut() error {
	first, pods := p.stage.first.trouble(), p.stage.pods.trouble()
	if first == nil || pods == nil {
		return nil
	}
	return inWords("watch "+p.Where(), first)
}

// Server is where the API server is.
func (p *Port) Server() string { return p.at.server }
