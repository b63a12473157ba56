package server

import (
	"context"
	"time"
)

// readyPoll is how often a process that takes over looks whether its dependencies work.
const readyPoll = 50 * time.Millisecond

// askPredecessor says a word to the process we take over from and waits for its answer. Where that process is gone there
// is nobody to serve but us, and nothing it could still hold: the start goes on. A signal to stop ends the wait.
func (l *life) askPredecessor(word, answer string) *stopOrder {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		err := l.inherited.line.say(word)
		if err == nil {
			err = l.inherited.line.expect(ctx, answer)
		}
		answered <- err
	}()
	for {
		select {
		case err := <-answered:
			if err != nil {
				l.log.Warn("the process to take over from does not answer; starting without it", "error", err)
			}
			return nil
		case sig := <-l.signals:
			if order := stopFor(sig); order != nil {
				return order
			}
		}
	}
}

// takeOver waits until this process could serve, tells the old one, and accepts connections.
func (l *life) takeOver(ctx context.Context) (*stopOrder, error) {
	for l.s.health.Dependencies(ctx).Status == Unhealthy {
		select {
		case <-time.After(readyPoll):
		case <-ctx.Done():
			return &stopOrder{reason: "context ended while taking over"}, nil
		case sig := <-l.signals:
			if order := stopFor(sig); order != nil {
				return order, nil
			}
		}
	}
	if stop := l.askPredecessor(wordReady, wordGo); stop != nil {
		return stop, nil
	}
	if err := l.public.accept(); err != nil {
		return nil, err
	}
	if l.admin != nil {
		if err := l.admin.socket.ownFile(); err != nil {
			l.log.Warn("the operations socket has no file", "error", err)
		}
	}
	err := l.inherited.line.close()
	l.inherited.line = nil
	return nil, err
}
