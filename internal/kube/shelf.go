package kube

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// shelf holds every object of one kind that is watched. It is filled by one list, kept by one watch, and costs the API server
// nothing more.
type shelf[T metav1.Object] struct {
	name    string // of the kind, for people
	changed func()

	slim  func(any) T       // makes what is kept of an object as it came; nil where all of it is
	fits  func(T) bool      // whether it is worth keeping; nil: everything is
	alike func(a, b T) bool // whether a change is none that anybody here would see; nil: every change is seen
	limit int               // the newest so many are kept; 0 for all

	mu      sync.RWMutex
	items   map[string]T
	sorted  []T      // all of items as they were, or nil where some have come or gone
	touched []string // those of sorted that are others now
	version uint64   // grows with every change that is seen
	synced  chan struct{}
	denied  error // the kind may not be read, or is not served
	broken  error // the last list or watch failed
}

func newShelf[T metav1.Object](name string, changed func()) *shelf[T] {
	return &shelf[T]{name: name, changed: changed, items: map[string]T{}, synced: make(chan struct{})}
}

// all lists the objects by name. Neither they nor the list may be changed.
func (s *shelf[T]) all() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.sorted == nil:
		s.sorted = slices.SortedFunc(maps.Values(s.items), func(a, b T) int { return strings.Compare(a.GetName(), b.GetName()) })
	case len(s.touched) > 0:
		s.sorted = slices.Clone(s.sorted) // the one before is in somebody's hands
		for _, name := range s.touched {
			at, found := slices.BinarySearchFunc(s.sorted, name, func(o T, name string) int { return strings.Compare(o.GetName(), name) })
			if found {
				s.sorted[at] = s.items[name]
			}
		}
	}
	s.touched = s.touched[:0]
	return slices.Clip(s.sorted)
}

func (s *shelf[T]) get(name string) (T, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	o, ok := s.items[name]
	return o, ok
}

// seen is the version of what all lists.
func (s *shelf[T]) seen() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.version
}

// put shelves an object: what the watch tells of, or what a write was answered with, so that the writer sees it at once. An older
// one changes nothing. It reports whether there is something new to see.
func (s *shelf[T]) put(o T) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := o.GetName()
	old, there := s.items[name]
	if there && older(o, old) {
		return false
	}
	s.items[name] = o
	if there {
		s.touched = append(s.touched, name)
	} else {
		s.sorted = nil
		s.prune()
	}
	if there && s.alike != nil && s.alike(old, o) {
		return false
	}
	s.version++
	return true
}

// prune lets the oldest go where there are too many; a tenth at once, because finding them takes a while.
func (s *shelf[T]) prune() {
	if s.limit == 0 || len(s.items) <= s.limit+s.limit/10 {
		return
	}
	all := slices.SortedFunc(maps.Values(s.items), func(a, b T) int {
		if older(a, b) {
			return -1
		}
		return 1
	})
	for _, o := range all[:len(all)-s.limit] {
		delete(s.items, o.GetName())
	}
	s.sorted = nil
}

// older compares resource versions, which rise; since 1.35 the API promises that.
func older(a, b metav1.Object) bool {
	x, y := a.GetResourceVersion(), b.GetResourceVersion()
	return len(x) < len(y) || len(x) == len(y) && x < y
}

// take makes of what came what is kept.
func (s *shelf[T]) take(o any) T {
	if s.slim != nil {
		if _, done := o.(T); !done {
			return s.slim(o)
		}
	}
	return o.(T)
}

// Transformer implements cache.TransformingStore: a first list that is streamed never holds all the objects as they came.
func (s *shelf[T]) Transformer() cache.TransformFunc {
	return func(o any) (any, error) { return s.take(o), nil }
}

// Add implements cache.ReflectorStore.
func (s *shelf[T]) Add(o any) error { return s.Update(o) }

// Update implements cache.ReflectorStore.
func (s *shelf[T]) Update(o any) error {
	item := s.take(o)
	if (s.fits == nil || s.fits(item)) && s.put(item) {
		s.changed()
	}
	return nil
}

// Delete implements cache.ReflectorStore.
func (s *shelf[T]) Delete(o any) error {
	name := s.take(o).GetName()
	s.mu.Lock()
	_, there := s.items[name]
	if there {
		delete(s.items, name)
		s.sorted = nil
		s.version++
	}
	s.mu.Unlock()
	if there {
		s.changed()
	}
	return nil
}

// Replace implements cache.ReflectorStore.
func (s *shelf[T]) Replace(list []any, _ string) error {
	items := make(map[string]T, len(list))
	for _, o := range list {
		if item := s.take(o); s.fits == nil || s.fits(item) {
			items[item.GetName()] = item
		}
	}
	s.mu.Lock()
	s.items, s.sorted = items, nil
	s.prune()
	s.version++
	s.broken = nil
	s.mu.Unlock()
	s.settle(nil)
	s.changed()
	return nil
}

// Resync implements cache.ReflectorStore.
func (s *shelf[T]) Resync() error { return nil }

// settle notes that it is known what is there, or that it never will be.
func (s *shelf[T]) settle(denied error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if denied != nil {
		s.denied = denied
	}
	select {
	case <-s.synced:
	default:
		close(s.synced)
	}
}

// trouble is why the shelf may not be up to date, or nil.
func (s *shelf[T]) trouble() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.broken
}

// failed notes what a list or watch ended with. What may not be read is not asked for again.
func (s *shelf[T]) failed(err error, stop context.CancelFunc) error {
	if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		s.settle(err)
		stop()
		s.changed() // whoever waits for it need not any longer
		return err
	}
	s.mu.Lock()
	if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		s.broken = err
	}
	s.mu.Unlock()
	return err
}

// keep fills the shelf until the context ends.
func (s *shelf[T]) keep(ctx context.Context, example any, lw cache.ListWatch) {
	ctx, stop := context.WithCancel(ctx)
	silent := logr.Discard()
	list, follow := lw.ListWithContextFunc, lw.WatchFuncWithContext
	lw.ListWithContextFunc = func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		got, err := list(ctx, o)
		if err != nil {
			return nil, s.failed(err, stop)
		}
		return got, nil
	}
	lw.WatchFuncWithContext = func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		got, err := follow(ctx, o)
		if err != nil {
			return nil, s.failed(err, stop)
		}
		s.mu.Lock()
		s.broken = nil
		s.mu.Unlock()
		return got, nil
	}
	r := cache.NewReflectorWithOptions(&lw, example, s, cache.ReflectorOptions{
		Logger: &silent, Name: s.name,
		Backoff: &wait.Backoff{Duration: 100 * time.Millisecond, Cap: 2 * time.Second, Steps: 10, Factor: 2, Jitter: 0.5},
	})
	r.RunWithContext(ctx)
	stop()
}

// selection chooses objects of a kind.
type selection struct{ labels, name string }

func (s selection) into(o metav1.ListOptions) metav1.ListOptions {
	o.LabelSelector = s.labels
	if s.name != "" {
		o.FieldSelector = "metadata.name=" + s.name
	}
	return o
}

// asJSON lists and watches objects as they are, unknown fields and all.
func (c *client) asJSON(r schema.GroupVersionResource, which selection) cache.ListWatch {
	return cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return c.on(r).List(ctx, which.into(o))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return c.on(r).Watch(ctx, which.into(o))
		},
	}
}

// asTyped lists and watches objects in their compact form. Where the API server does not stream the first list, it is read in
// pages, which its cache would not do.
func (c *client) asTyped(r schema.GroupVersionResource, which selection, list func() runtime.Object) cache.ListWatch {
	return cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			into := list()
			o = which.into(o)
			if o.Limit > 0 && o.ResourceVersion == "0" {
				o.ResourceVersion = ""
			}
			return into, c.typed.Get().AbsPath(c.path(r)...).VersionedParams(&o, metav1.ParameterCodec).Do(ctx).Into(into)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o = which.into(o)
			o.Watch = true
			return c.typed.Get().AbsPath(c.path(r)...).VersionedParams(&o, metav1.ParameterCodec).Watch(ctx)
		},
	}
}
