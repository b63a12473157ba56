package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Component is a part of a service with a life of its own: a pool, a supervisor, a scheduler. Every function is optional,
// has to return when its context ends, and is never called beside another one of the same component.
type Component struct {
	Name string
	// Start returns once the component works. Its context lives until the component has been stopped, and ends early
	// when the service is told to stop while it starts.
	Start func(ctx context.Context) error
	// Stop releases everything, also after a Start that failed.
	Stop func(ctx context.Context) error
	// Reload takes up changed files; on SIGHUP.
	Reload func(ctx context.Context) error
	// Release gives up what only one process may hold, a lock or a store, while the component goes on serving; at a
	// hand-over, in reverse order, before the new process starts its components.
	Release func(ctx context.Context) error
	// Reclaim takes that back, because the new process failed.
	Reclaim func(ctx context.Context) error
}

// hook is one of the optional functions, and what calling it is called in errors.
type hook struct {
	doing string
	of    func(Component) func(context.Context) error
}

var (
	startHook   = hook{"start", func(c Component) func(context.Context) error { return c.Start }}
	stopHook    = hook{"stop", func(c Component) func(context.Context) error { return c.Stop }}
	reloadHook  = hook{"reload", func(c Component) func(context.Context) error { return c.Reload }}
	releaseHook = hook{"release", func(c Component) func(context.Context) error { return c.Release }}
	reclaimHook = hook{"reclaim", func(c Component) func(context.Context) error { return c.Reclaim }}
)

// abandonAfter is how long a component that ignores the end of its context is still waited for.
const abandonAfter = time.Second

// call runs the hook of one component. It returns soon after ctx ends even where the component does not.
func (h hook) call(ctx context.Context, c Component) error {
	f := h.of(c)
	if f == nil {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		case <-time.After(abandonAfter):
			err = fmt.Errorf("gave up waiting: %w", context.Cause(ctx))
		}
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", h.doing, c.Name, err)
	}
	return nil
}

// inOrder calls the hook of each component until one fails, and returns how many did not.
func (h hook) inOrder(ctx context.Context, components []Component) (int, error) {
	for i, c := range components {
		if err := h.call(ctx, c); err != nil {
			return i, err
		}
	}
	return len(components), nil
}

// reversed calls the hook of every component, the last first, whatever fails.
func (h hook) reversed(ctx context.Context, components []Component) error {
	var errs []error
	for _, c := range slices.Backward(components) {
		errs = append(errs, h.call(ctx, c))
	}
	return errors.Join(errs...)
}
