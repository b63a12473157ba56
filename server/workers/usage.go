package workers

import (
	"os"
	"sync"
	"time"
)

// resources are what the processes of one session use.
type resources struct {
	rss uint64  // bytes
	cpu float64 // seconds
}

// usage reads /proc at most once a second, however many ask.
type usage struct {
	mu   sync.Mutex
	at   time.Time
	seen map[int]resources
}

const usageAge = time.Second

// bySession returns a map that nobody changes any more. A worker's session has its pid as id.
func (u *usage) bySession(now time.Time) map[int]resources {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen != nil && now.Sub(u.at) < usageAge {
		return u.seen
	}
	list, err := pids()
	if err != nil {
		return u.seen // a picture without figures is better than none
	}
	seen := map[int]resources{}
	page := uint64(os.Getpagesize())
	for _, pid := range list {
		p, err := readProc(pid)
		if err != nil {
			continue
		}
		r := seen[p.sid]
		r.rss += p.rss * page
		r.cpu += float64(p.ticks) / ticksPerSecond
		seen[p.sid] = r
	}
	u.seen, u.at = seen, now
	return seen
}
