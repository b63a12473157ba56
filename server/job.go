package server

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// job is work that the life of a server does beside listening for signals.
type job struct {
	name      string
	log       *slog.Logger
	result    chan error
	cancel    context.CancelCauseFunc
	handsOver bool // success means that another process serves now
}

func (l *life) newJob(name string, f func(ctx context.Context) error) *job {
	ctx, cancel := context.WithCancelCause(context.Background())
	j := &job{name: name, log: l.log, result: make(chan error, 1), cancel: cancel}
	go func() { j.result <- f(ctx) }()
	return j
}

// done is where the result arrives; never, without a job.
func (j *job) done() <-chan error {
	if j == nil {
		return nil
	}
	return j.result
}

// finish logs how the job went and says whether another process serves now.
func (j *job) finish(err error) (handedOver bool) {
	j.cancel(nil)
	if err != nil {
		j.log.Error(j.name+" failed; serving on as before", "error", err)
		return false
	}
	j.log.Info(j.name + " succeeded")
	return j.handsOver
}

// interrupt ends a job because the service stops, and says whether it had handed over already.
func (j *job) interrupt(o stopOrder) (handedOver bool) {
	if j == nil {
		return false
	}
	if o.force {
		j.cancel(ErrForced)
	} else {
		j.cancel(errors.New(o.reason))
	}
	return j.finish(<-j.result)
}

// reloadTimeout bounds a reload of all components.
const reloadTimeout = 30 * time.Second

// reload opens the log file again and has every component take up what changed on disk. One that fails keeps what it
// had; the others go on.
func (l *life) reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	l.tell(reloading()...)
	errs := []error{l.s.log.sink.reopen()}
	for _, c := range l.started {
		errs = append(errs, reloadHook.call(ctx, c))
	}
	l.tell("READY=1")
	return errors.Join(errs...)
}
