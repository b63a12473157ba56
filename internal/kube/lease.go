package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// How a lease lives. What a driver may do is fenced by the journal's sequence and by resourceVersions, so the lease only keeps
// two from working at once for nothing: taking it over early does no harm.
const (
	leaseDuration = 10 * time.Second
	leaseRenew    = 2 * time.Second
)

// lease says who drives a service's rollouts.
type lease struct {
	client *client
	name   string
	holder string

	mu   sync.Mutex
	last held // as it was at
	at   time.Time

	watch   sync.Mutex
	renewed time.Time // as it was read last
	since   time.Time // when it was first read so, by this machine's clock
}

func newLease(c *client, deployment, holder string) *lease {
	return &lease{client: c, name: prefixed(deployment, "driver"), holder: holder}
}

// held is what a lease says.
type held struct {
	by      string
	renewed time.Time
	still   time.Duration // it was read again and again, and not renewed
	object  *unstructured.Unstructured
}

// fresh reports whether somebody holds the lease who was alive a moment ago, as far as clocks agree: one that is ahead does not make the dead
// live longer. Who ran on this machine and is gone is dead, however fresh the lease.
func (h held) fresh(now time.Time) bool {
	return h.by != "" && now.Sub(h.renewed) < leaseDuration && h.still < leaseDuration && !deadHere(h.by)
}

// observe says for how long the lease has been seen renewed at a time, and no later.
func (l *lease) observe(renewed time.Time) time.Duration {
	l.watch.Lock()
	defer l.watch.Unlock()
	if !renewed.Equal(l.renewed) || l.since.IsZero() {
		l.renewed, l.since = renewed, now()
	}
	return now().Sub(l.since)
}

// controls reports whether a controller holds it.
func (h held) controls() bool { return strings.HasPrefix(h.by, "controller ") }

// deadHere reports whether the holder was a process of this machine that is no more.
func deadHere(holder string) bool {
	words := strings.Fields(holder)
	if len(words) != 3 {
		return false
	}
	host, err := os.Hostname()
	pid, perr := strconv.Atoi(words[2])
	return err == nil && perr == nil && words[1] == host && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

func (l *lease) read(ctx context.Context) (held, error) {
	o, err := l.client.on(leases).Get(ctx, l.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return held{}, nil
	}
	if err != nil {
		return held{}, fmt.Errorf("read the lease %s: %w", l.name, err)
	}
	h := held{object: o}
	h.by, _, err = unstructured.NestedString(o.Object, "spec", "holderIdentity")
	if err != nil {
		return held{}, fmt.Errorf("read the lease %s: %w", l.name, err)
	}
	text, _, err := unstructured.NestedString(o.Object, "spec", "renewTime")
	if err != nil {
		return held{}, fmt.Errorf("read the lease %s: %w", l.name, err)
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		h.renewed = at
	}
	h.still = l.observe(h.renewed)
	return h, nil
}

// errHeld is why a lease is not ours.
var errHeld = errors.New("another drives")

// take makes the lease ours, renews it if it is, and fails with errHeld where somebody else holds it who is alive, unless
// told to take it from them. It returns who held it before and did not let it go, where that was another.
func (l *lease) take(ctx context.Context, now time.Time, force bool) (displaced string, err error) {
	h, err := l.read(ctx)
	if err != nil {
		return "", err
	}
	if h.by != l.holder {
		displaced = h.by
	}
	if displaced != "" && h.fresh(now) && !force {
		return "", fmt.Errorf("%w: %s", errHeld, h.by)
	}
	return displaced, l.write(ctx, now, h)
}

// write makes the lease ours, provided that it is still as it was read.
func (l *lease) write(ctx context.Context, now time.Time, h held) (err error) {
	stamp := now.UTC().Format("2006-01-02T15:04:05.000000Z07:00")
	o := ownObject("coordination.k8s.io/v1", "Lease", l.name, "", "lease", map[string]any{"spec": map[string]any{
		"holderIdentity": l.holder, "leaseDurationSeconds": int64(leaseDuration / time.Second), "renewTime": stamp, "acquireTime": stamp,
	}})
	if h.object == nil {
		_, err = l.client.on(leases).Create(ctx, o, metav1.CreateOptions{FieldManager: manager})
	} else {
		if h.by == l.holder {
			acquired, _, _ := unstructured.NestedString(h.object.Object, "spec", "acquireTime")
			must(unstructured.SetNestedField(o.Object, acquired, "spec", "acquireTime"))
		}
		o.SetResourceVersion(h.object.GetResourceVersion())
		_, err = l.client.on(leases).Update(ctx, o, metav1.UpdateOptions{FieldManager: manager})
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("%w: somebody took the lease just now", errHeld)
	}
	if err != nil {
		return fmt.Errorf("write the lease %s: %w", l.name, err)
	}
	return nil
}

// release lets the lease go, if it is ours.
func (l *lease) release(ctx context.Context) error {
	h, err := l.read(ctx)
	if err != nil || h.object == nil || h.by != l.holder {
		return err
	}
	must(unstructured.SetNestedField(h.object.Object, "", "spec", "holderIdentity"))
	_, err = l.client.on(leases).Update(ctx, h.object, metav1.UpdateOptions{FieldManager: manager})
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// leaseSeenFor is how long an answer about a lease is good enough to be shown.
const leaseSeenFor = 2 * time.Second

// seen is the lease as it was a moment ago: what is shown again and again must not ask again and again.
func (l *lease) seen(p *Port) (held, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now().Sub(l.at) > leaseSeenFor {
		ctx, cancel := context.WithTimeout(p.ctx, leaseSeenFor)
		defer cancel()
		h, err := l.read(ctx)
		if err != nil {
			return held{}, err
		}
		l.last, l.at = h, now()
	}
	return l.last, nil
}
