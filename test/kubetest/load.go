package kubetest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Load asks a web server of a real node again and again, about 300 times a second: half of it over connections that are kept,
// half over new ones.
type Load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	served map[string]int // by the answer, which is the version
	failed map[string]Failure
}

// Failure is requests that failed for the same reason.
type Failure struct {
	Why         string
	Requests    int
	First, Last time.Time // when they failed
}

// String says when, how many and why.
func (f Failure) String() string {
	const clock = "15:04:05.000"
	if f.Requests == 1 {
		return fmt.Sprintf("%s: a request failed: %s", f.First.Format(clock), f.Why)
	}
	return fmt.Sprintf("%s to %s: %d requests failed: %s", f.First.Format(clock), f.Last.Format(clock), f.Requests, f.Why)
}

// StartLoad begins to ask. Stop ends it.
func (c *Cluster) StartLoad(url string) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{cancel: cancel, served: map[string]int{}, failed: map[string]Failure{}}
	for i := range 8 {
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: c.Dial, DisableKeepAlives: i%2 == 0}}
		l.wg.Go(func() {
			defer client.CloseIdleConnections()
			tick := time.NewTicker(25 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					l.count(visit(client, url))
				}
			}
		})
	}
	return l
}

func (l *Load) count(answer string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		f := l.failed[err.Error()]
		if f.Requests == 0 {
			f.Why, f.First = err.Error(), time.Now()
		}
		f.Requests++
		f.Last = time.Now()
		l.failed[f.Why] = f
		return
	}
	l.served[strings.TrimSpace(answer)]++
}

func visit(client *http.Client, url string) (string, error) {
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", resp.Status)
	}
	return string(body), err
}

// Served is how many requests a version has answered.
func (l *Load) Served(version string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.served[version]
}

// Counts are the answers by version, and the failures, the first one first.
func (l *Load) Counts() (served map[string]int, failed []Failure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	byTime := func(a, b Failure) int { return a.First.Compare(b.First) }
	return maps.Clone(l.served), slices.SortedFunc(maps.Values(l.failed), byTime)
}

// Stop ends the load, after the requests in flight.
func (l *Load) Stop() {
	l.cancel()
	l.wg.Wait()
}
