package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/covetpy/covet/ops/rollout"
)

// Controller drives the rollouts of every service of a namespace that has a journal, and takes up those that whoever began
// them has left. Of several controllers one at a time drives a service: its lease says which.
type Controller struct {
	Target  Target   // Deployment is not looked at
	Only    []string // these Deployments, whether they have a journal or not; empty for all that have one
	Options Options
	Log     *slog.Logger
	Joined  func(deployment string, s *Served) // called once for each service; may be nil

	mu     sync.Mutex
	served map[string]*Served
	ready  bool
}

// Served is one service that a controller sees to.
type Served struct{ port *Port }

// State is what the service's journal says.
func (s *Served) State() rollout.State { return s.port.state() }

// Seen is what is really there.
func (s *Served) Seen() rollout.Snapshot { return live{s.port}.Snapshot() }

// Leads reports whether this controller drives the service now.
func (s *Served) Leads() bool {
	s.port.driver.mu.Lock()
	defer s.port.driver.mu.Unlock()
	return s.port.driver.self
}

// Problems says what keeps the service's rollout from going on.
func (s *Served) Problems() []string { return s.port.problems() }

// Run sees to the services until the context ends.
func (c *Controller) Run(ctx context.Context) error {
	at, err := c.Target.resolve()
	if err != nil {
		return err
	}
	cl, err := newClient(at)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.served = map[string]*Served{}
	c.mu.Unlock()
	defer c.leave()
	var ring bell
	journals := newShelf[object]("journals", ring.ring)
	watching, stop := context.WithCancel(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() {
		journals.keep(watching, &unstructured.Unstructured{}, cl.asJSON(configMaps, selection{labels: labelKind + "=journal"}))
	})
	defer keeping.Wait()
	defer stop()
	for {
		changed := ring.changed()
		if err := journals.refused(); err != nil {
			return inWords("watch the journals of namespace "+at.Namespace, err)
		}
		again := c.join(ctx, c.wanted(journals))
		select {
		case <-journals.known():
			c.mu.Lock()
			c.ready = c.ready || again == nil
			c.mu.Unlock()
		default:
		}
		if done := c.await(ctx, changed, again); done {
			return nil
		}
	}
}

// retryJoin is how soon a service that could not be opened is tried again.
const retryJoin = 5 * time.Second

func (c *Controller) await(ctx context.Context, changed <-chan struct{}, again error) (done bool) {
	var later <-chan time.Time
	if again != nil {
		t := time.NewTimer(retryJoin)
		defer t.Stop()
		later = t.C
	}
	select {
	case <-ctx.Done():
		return true
	case <-changed:
	case <-later:
	}
	return false
}

// wanted lists the Deployments to see to.
func (c *Controller) wanted(journals *shelf[object]) []string {
	if len(c.Only) > 0 {
		return c.Only
	}
	names := map[string]bool{}
	for _, o := range journals.all() {
		if _, head, _ := unstructured.NestedString(o.Object, "data", "last"); head {
			names[o.GetAnnotations()[annDeployment]] = true
		}
	}
	delete(names, "")
	return slices.Sorted(maps.Keys(names))
}

// join opens the services that are not seen to yet.
func (c *Controller) join(ctx context.Context, names []string) error {
	var errs []error
	for _, name := range names {
		c.mu.Lock()
		_, known := c.served[name]
		c.mu.Unlock()
		if known || ctx.Err() != nil {
			continue
		}
		t := c.Target
		t.Deployment, t.Service = name, ""
		port, err := Open(ctx, t, c.Options)
		if err != nil {
			c.Log.Error("a service cannot be seen to; it is tried again", "deployment", name, "error", err)
			errs = append(errs, err)
			continue
		}
		port.stand()
		s := &Served{port: port}
		c.mu.Lock()
		c.served[name] = s
		c.mu.Unlock()
		c.Log.Info("seeing to a service", "deployment", name)
		if c.Joined != nil {
			c.Joined(name, s)
		}
	}
	return errors.Join(errs...)
}

// stand makes the port's driver drive for as long as the port is open.
func (p *Port) stand() {
	p.driver.mu.Lock()
	p.driver.always = true
	p.driver.mu.Unlock()
	p.driver.wake(false)
}

func (c *Controller) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, s := range c.served {
		if err := s.port.Close(); err != nil {
			c.Log.Warn("a service was left without letting its lease go: the next driver waits for it", "deployment", name, "error", err)
		}
	}
}

// Ready reports whether the controller has seen what there is to see to, or why not.
func (c *Controller) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ready {
		return errors.New("the services are still being looked for")
	}
	for name, s := range c.served {
		if t := s.port.stage.troubles(); len(t) > 0 {
			return fmt.Errorf("%s: %s", name, t[0])
		}
	}
	return nil
}
