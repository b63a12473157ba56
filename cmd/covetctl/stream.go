package main

import (
	"context"
	"fmt"
	"time"

	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
)

const (
	reconnectEvery = 300 * time.Millisecond
	reconnectFor   = 2 * time.Minute // of silence, after which nobody can tell any more what became of covetd
)

// stream hands over the live stream until take is done with it. When the connection is lost it is taken up again from the
// last event, and a person is told so.
type stream struct {
	app    *app
	port   console.Port
	after  journal.Seq
	take   func(console.Update) (done bool, err error)
	before func() error // called before anything is told; may be nil

	heard  bool      // covetd has spoken at all
	lostAt time.Time // zero while connected
}

func (s *stream) run(ctx context.Context) error {
	for {
		done, err := s.once(ctx)
		switch {
		case done || err != nil && !s.lost(err):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if err := s.losing(err); err != nil {
			return err
		}
		select {
		case <-s.app.wait():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *stream) lost(err error) bool { return s.heard && isCode(err, console.CodeUnreachable) }

// once follows one connection.
func (s *stream) once(ctx context.Context) (done bool, err error) {
	for u, err := range s.port.Watch(ctx, s.after) {
		if err != nil {
			return false, err
		}
		if err := s.found(fmt.Sprintf("event %d", s.after)); err != nil {
			return true, err
		}
		if u.Event != nil {
			if u.Event.Seq <= s.after {
				continue
			}
			s.after = u.Event.Seq
		}
		if done, err := s.take(u); done || err != nil {
			return true, err
		}
	}
	return false, nil
}

// found notes that covetd speaks, and says where it goes on if that is news.
func (s *stream) found(after string) error {
	s.heard = true
	if s.lostAt.IsZero() {
		return nil
	}
	s.lostAt = time.Time{}
	return s.say(render.Good, "connected again, going on after %s", after)
}

// losing notes that the connection is gone. It gives up when it has been for too long.
func (s *stream) losing(err error) error {
	now := s.app.now()
	if s.lostAt.IsZero() {
		s.lostAt = now
		return s.say(render.Warn, "lost the connection to covetd, trying again: %s", message(err))
	}
	if now.Sub(s.lostAt) < reconnectFor {
		return nil
	}
	return &console.Error{
		Code:    console.CodeUnreachable,
		Message: "covetd has been away for " + render.Span(now.Sub(s.lostAt)) + ": " + message(err),
		Hint:    "when it is up again: covetctl attach",
	}
}

func (s *stream) say(t render.Tone, format string, args ...any) error {
	if s.before != nil {
		if err := s.before(); err != nil {
			return err
		}
	}
	return s.app.note(t, format, args...)
}

// message is an error's words without the way out.
func message(err error) string {
	if e, ok := asConsole(err); ok {
		return render.Clean(e.Message)
	}
	if err == nil {
		return "the stream ended"
	}
	return render.Clean(err.Error())
}

// head is the number of the newest event.
func (a *app) head(ctx context.Context, port console.Port) (journal.Seq, error) {
	st, err := ask[console.Status](ctx, a, port, console.GetStatus, console.Query{})
	return st.Seq, err
}
