package main

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"

	"github.com/covetpy/covet/internal/kube"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
)

// latePort is a service on Kubernetes that has yet to be reached, so that the console is there at once: a cluster that is slow or
// dead leaves it a screen that says so, tries again, and lets a person go elsewhere. It opens the real one when it is first asked,
// one attempt at a time.
type latePort struct {
	open   func(ctx context.Context, t kube.Target) (console.Port, error)
	home   *kube.Target    // with which the console began, where this is another one
	ctx    context.Context // of the attempts, which outlive every question
	cancel context.CancelFunc

	mu      sync.Mutex
	target  kube.Target // pinned once the kubeconfig was read, for which the first frame does not wait
	port    console.Port
	opening *attempt
	moved   chan struct{} // closed when the port is there
	closed  bool
}

// attempt is one try to open the port.
type attempt struct {
	done chan struct{}
	err  error // once done
}

func newLatePort(t kube.Target, open func(context.Context, kube.Target) (console.Port, error)) *latePort {
	ctx, cancel := context.WithCancel(context.Background())
	return &latePort{target: t, open: open, ctx: ctx, cancel: cancel, moved: make(chan struct{})}
}

// there is the real port, or nil.
func (l *latePort) there() console.Port {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.port
}

// reach returns the real port, opening it if that has not been done. An attempt goes on when who asked for it gives up: on a
// cluster that is slow the next one finds it done.
func (l *latePort) reach(ctx context.Context) (console.Port, error) {
	l.mu.Lock()
	if l.port != nil {
		defer l.mu.Unlock()
		return l.port, nil
	}
	try := l.opening
	if try == nil {
		try = &attempt{done: make(chan struct{})}
		l.opening = try
		go l.run(try)
	}
	l.mu.Unlock()
	select {
	case <-try.done:
		return l.there(), try.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run makes one attempt.
func (l *latePort) run(try *attempt) {
	defer close(try.done)
	p, err := l.open(l.ctx, l.pin())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opening = nil
	switch {
	case err != nil:
		try.err = err
	case l.closed:
		try.err = errors.Join(errors.New("the console was left"), closePort(p))
	default:
		l.port = p
		close(l.moved)
	}
}

// pin settles what is meant.
func (l *latePort) pin() kube.Target {
	l.mu.Lock()
	t := l.target
	l.mu.Unlock()
	t = t.Pinned() // it reads files
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = t
	return t
}

var errNotYet = &console.Error{Code: console.CodeUnreachable, Message: "the cluster has not answered yet"}

// Ask implements console.Port. What is not reached yet is not waited for: the stream is what reaches it.
func (l *latePort) Ask(ctx context.Context, op console.Op, q console.Query, out any) error {
	if p := l.there(); p != nil {
		return p.Ask(ctx, op, q, out)
	}
	return errNotYet
}

// Do implements console.Port.
func (l *latePort) Do(ctx context.Context, op console.Op, in, out any) error {
	if p := l.there(); p != nil {
		return p.Do(ctx, op, in, out)
	}
	return errNotYet
}

// Watch implements console.Port.
func (l *latePort) Watch(ctx context.Context, after journal.Seq) iter.Seq2[console.Update, error] {
	return func(yield func(console.Update, error) bool) {
		p, err := l.reach(ctx)
		if err != nil {
			yield(console.Update{}, err)
			return
		}
		for u, err := range p.Watch(ctx, after) {
			if cut := cutOff(p); cut != nil {
				yield(console.Update{}, cut)
				return
			}
			if !yield(u, err) {
				return
			}
		}
	}
}

// cutOff is why the port hears nothing of the service, if it can tell: it would go on to say what it knows.
func cutOff(p console.Port) error {
	if c, ok := p.(interface{ Cut() error }); ok {
		return c.Cut()
	}
	return nil
}

// Logs implements console.Port.
func (l *latePort) Logs(ctx context.Context, q console.LogQuery) iter.Seq2[console.LogLine, error] {
	if p := l.there(); p != nil {
		return p.Logs(ctx, q)
	}
	return noLines
}

func noLines(yield func(console.LogLine, error) bool) { yield(console.LogLine{}, errNotYet) }

// cluster is the real port as one in a cluster.
func (l *latePort) cluster() (console.Cluster, error) {
	if c, ok := l.there().(console.Cluster); ok {
		return c, nil
	}
	return nil, errNotYet
}

// View implements console.Cluster.
func (l *latePort) View(ctx context.Context) (console.ClusterView, error) {
	c, err := l.cluster()
	if err != nil {
		return console.ClusterView{}, err
	}
	return c.View(ctx)
}

// ViewChanged implements console.Cluster.
func (l *latePort) ViewChanged() <-chan struct{} {
	if c, err := l.cluster(); err == nil {
		return c.ViewChanged()
	}
	return l.moved
}

// PodLogs implements console.Cluster.
func (l *latePort) PodLogs(ctx context.Context, q console.PodLogQuery) iter.Seq2[console.LogLine, error] {
	if c, err := l.cluster(); err == nil {
		return c.PodLogs(ctx, q)
	}
	return noLines
}

// Nearby is where else to look as far as the kubeconfig tells.
func (l *latePort) Nearby() (console.Targets, error) { return l.known().Nearby() }

// Targets implements console.Cluster. The cluster is asked even where the service in it could not be found.
func (l *latePort) Targets(ctx context.Context) (console.Targets, error) {
	return l.known().Targets(ctx)
}

// known is the target with the service that was found, if it was.
func (l *latePort) known() kube.Target {
	l.pin()
	return l.settled()
}

// settled is known as far as that is without reading any file.
func (l *latePort) settled() kube.Target {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.target
	if p, ok := l.port.(*kube.Port); ok {
		t.Deployment = p.Deployment()
	}
	return t
}

// Switch is the console's port to another target. It is opened when it is first asked, like this one, so that going there takes
// no time and needs nothing of the cluster that is left.
func (l *latePort) Switch(_ context.Context, to console.TargetRef) (console.Port, error) {
	here := l.known()
	home := here
	if l.home != nil {
		home = *l.home
	}
	target := here.To(to).Pinned()
	if target.Context == home.Context && target.Namespace == home.Namespace && (target.Deployment == "" || target.Deployment == home.Deployment) {
		target = home // with all that was said of it
	}
	if _, err := target.Nearby(); err != nil {
		return nil, err // the kubeconfig is gone: there is nowhere to go
	}
	next := newLatePort(target, l.open)
	if target != home {
		next.home = &home
	}
	return next, nil
}

// AtHome reports whether this is the target with which the console began.
func (l *latePort) AtHome() bool { return l.home == nil }

// Flags are those by which another covetctl finds the same service, whatever its environment says.
func (l *latePort) Flags() []string {
	t := l.settled()
	var out []string
	for _, f := range [][2]string{{"--kubeconfig", t.Kubeconfig}, {"--context", t.Context}, {"--namespace", t.Namespace}, {"--deployment", t.Deployment}} {
		if f[1] != "" {
			out = append(out, f[0], f[1])
		}
	}
	return out
}

// Where is what is talked to, as shown.
func (l *latePort) Where() string {
	if p, ok := l.there().(interface{ Where() string }); ok {
		return p.Where()
	}
	return l.settled().Where()
}

// Who is whom the cluster takes the caller for; empty until it has said.
func (l *latePort) Who() string {
	if p, ok := l.there().(interface{ Who() string }); ok {
		return p.Who()
	}
	return ""
}

// Close ends what was opened. It may be called twice.
func (l *latePort) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.cancel()
	if l.port == nil {
		return nil
	}
	return closePort(l.port)
}

func closePort(p console.Port) error {
	if c, ok := p.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
