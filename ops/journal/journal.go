// Package journal is the one durable, ordered record of what happened to a service. Every other state is a fold over it.
//
// The contract is compare-and-append: a writer names the sequence number it has read up to, and is refused when somebody
// else has written since. So two drivers can never both advance a rollout, and an abort that came first wins over a promote.
package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Seq is an event's place in the journal: 1 for the first, without gaps.
type Seq uint64

// Kind names what happened, as "noun.verb" in the past tense.
type Kind string

// Event is one thing that happened. It is never changed after it was appended.
type Event struct {
	Seq     Seq             `json:"seq"`
	At      time.Time       `json:"at"`
	By      string          `json:"by"`                // who: a person, or "covetd" where the engine decided
	Kind    Kind            `json:"kind"`              // what happened
	Subject string          `json:"subject,omitempty"` // to what: a rollout's id, a release's version, an incident's id
	Data    json.RawMessage `json:"data,omitempty"`    // the kind's own fields
}

// ErrConflict is what Append returns when the journal has moved on since the caller read it: read again, decide again.
var ErrConflict = errors.New("the journal has moved on since it was read")

// Journal stores events. Append is atomic (all of events or none), durable before it returns, and numbers the events
// itself: the first gets after+1. It fails with ErrConflict, writing nothing, when the last event's number is not after.
// Read yields the events with numbers of from and above, in order.
type Journal interface {
	Append(ctx context.Context, after Seq, events ...Event) (Seq, error)
	Read(ctx context.Context, from Seq) iter.Seq2[Event, error]
}

// New makes an event that has no number yet. It panics only if data cannot be marshalled, which is a programming error.
func New(at time.Time, by string, kind Kind, subject string, data any) Event {
	e := Event{At: at.UTC(), By: by, Kind: kind, Subject: subject}
	if data == nil {
		return e
	}
	raw, err := json.Marshal(data)
	if err != nil {
		panic(fmt.Sprintf("journal: event %s has data that is not JSON: %v", kind, err))
	}
	e.Data = raw
	return e
}

// Decode reads the event's own fields into v.
func (e Event) Decode(v any) error {
	if len(e.Data) == 0 {
		return nil
	}
	if err := json.Unmarshal(e.Data, v); err != nil {
		return fmt.Errorf("event %d (%s) has fields this version cannot read: %w", e.Seq, e.Kind, err)
	}
	return nil
}
