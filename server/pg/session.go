package pg

import (
	"context"
	"sync/atomic"
)

// Session remembers how far the writes of one user have come. It is safe for concurrent use; its zero value has written
// nothing.
type Session struct{ at atomic.Uint64 }

// SessionKey is the key of a context's *Session.
type SessionKey struct{}

// WithSession returns a context whose writes and reads belong to s.
func WithSession(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, SessionKey{}, s)
}

// SessionFrom returns the context's session, or nil.
func SessionFrom(ctx context.Context) *Session {
	s, _ := ctx.Value(SessionKey{}).(*Session)
	return s
}

// Wrote notes that everything up to a position must be seen from now on.
func (s *Session) Wrote(at LSN) {
	if s == nil {
		return
	}
	for {
		old := s.at.Load()
		if uint64(at) <= old || s.at.CompareAndSwap(old, uint64(at)) {
			return
		}
	}
}

// At is the position that reads must have reached; 0 where nothing was written.
func (s *Session) At() LSN {
	if s == nil {
		return 0
	}
	return LSN(s.at.Load())
}

// Token is what a client may carry from one request to the next, or "" where it has written nothing. Who forges one sends
// nothing but his own reads to the primary.
func (s *Session) Token() string {
	if at := s.At(); at != 0 {
		return at.String()
	}
	return ""
}

// Resume takes up a token. One that cannot be read counts for nothing.
func (s *Session) Resume(token string) {
	if at, err := ParseLSN(token); err == nil {
		s.Wrote(at)
	}
}

// FromPrimary returns a context whose reads go to the primary: for what must not be a moment old.
func FromPrimary(ctx context.Context) context.Context {
	s := &Session{}
	s.Wrote(^LSN(0))
	return WithSession(ctx, s)
}
