package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// clients is how many keep-alive connections the load comes over.
const clients = 16

// load sends requests at a steady rate and counts what becomes of them.
type load struct {
	requests atomic.Int64
	byBad    atomic.Int64 // answered with 5xx by the bad release itself
	failed   atomic.Int64 // any other answer but 2xx, and every broken connection
	mu       sync.Mutex
	why      map[string]int

	cancel context.CancelFunc
	done   sync.WaitGroup
}

func startLoad(url string, rate int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, why: map[string]int{}}
	for i := range clients {
		l.done.Go(func() { l.client(ctx, url, i, time.Second*clients/time.Duration(rate)) })
	}
	return l
}

// client is one visitor with one connection: a mix of pages and orders.
func (l *load) client(ctx context.Context, url string, i int, every time.Duration) {
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: 30 * time.Second}
	tick := time.NewTicker(every)
	defer tick.Stop()
	paths := []string{"/", "/api/products", "/api/products/teapot"}
	for n := i; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.visit(c, url+paths[n%len(paths)])
		}
	}
}

func (l *load) visit(c *http.Client, url string) {
	l.requests.Add(1)
	resp, err := c.Get(url)
	if err != nil {
		l.fail(err.Error())
		return
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	switch {
	case err != nil:
		l.fail(err.Error())
	case resp.StatusCode >= 500 && resp.Header.Get("X-Covet-Release") == bad && resp.Header.Get("X-Shop-Version") == bad:
		l.byBad.Add(1)
	case resp.StatusCode/100 != 2:
		l.fail(fmt.Sprintf("%s answered %s", url, resp.Status))
	}
}

func (l *load) fail(why string) {
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why[why]++
}

// stop ends the load after a last while, and waits for what is under way.
func (l *load) stop(after time.Duration) error {
	time.Sleep(after)
	l.cancel()
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.why) == 0 {
		return nil
	}
	text := fmt.Sprintf("%d of %d requests failed", l.failed.Load(), l.requests.Load())
	for why, n := range l.why {
		text += fmt.Sprintf("\n  %d times: %s", n, why)
	}
	return errors.New(text)
}
