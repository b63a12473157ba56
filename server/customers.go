package server

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// namedCustomers is how many users have a series of their own: those that came first. All others are otherCustomers.
	namedCustomers = 100
	otherCustomers = "other"
	// rememberedUsers is how many users can be told apart as active.
	rememberedUsers = 1 << 16
	// activeFor is how long a user counts as active after a request.
	activeFor = 5 * time.Minute
)

// customers counts the requests of known users, and who has been there lately.
type customers struct {
	mu    sync.Mutex // held to add one
	known sync.Map   // user to *customer
	size  int
	named int
	other atomic.Int64 // calls of customers without a series

	calls, active *prometheus.Desc
}

// customer is one user.
type customer struct {
	named bool
	calls atomic.Int64 // where it is named
	seen  atomic.Int64 // Unix time of its last request
}

func newCustomers() *customers {
	return &customers{
		calls:  prometheus.NewDesc("covetpy_api_calls_total", "Requests of known users, by user; those beyond the first 100 are other.", []string{"customer"}, nil),
		active: prometheus.NewDesc("covetpy_active_users", "Users with a request within the last five minutes.", nil, nil),
	}
}

// count counts a request of a user.
func (c *customers) count(user string, now time.Time) {
	who, ok := c.find(user)
	if !ok {
		c.other.Add(1)
		return
	}
	if at := now.Unix(); who.seen.Load() != at {
		who.seen.Store(at)
	}
	if who.named {
		who.calls.Add(1)
	} else {
		c.other.Add(1)
	}
}

// find returns what is known of a user, and begins to know it where there is room.
func (c *customers) find(user string) (*customer, bool) {
	if v, ok := c.known.Load(user); ok {
		return v.(*customer), true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.known.Load(user); ok {
		return v.(*customer), true
	}
	if c.size >= rememberedUsers {
		return nil, false
	}
	who := &customer{named: c.named < namedCustomers && user != otherCustomers}
	if who.named {
		c.named++
	}
	c.size++
	c.known.Store(user, who)
	return who, true
}

// Describe is prometheus.Collector's.
func (c *customers) Describe(ch chan<- *prometheus.Desc) { ch <- c.calls; ch <- c.active }

// Collect is prometheus.Collector's. Users that have no series and have not been there lately are forgotten.
func (c *customers) Collect(ch chan<- prometheus.Metric) {
	active, since := 0, time.Now().Add(-activeFor).Unix()
	c.known.Range(func(key, value any) bool {
		who := value.(*customer)
		lately := who.seen.Load() >= since
		if lately {
			active++
		}
		if who.named {
			ch <- prometheus.MustNewConstMetric(c.calls, prometheus.CounterValue, float64(who.calls.Load()), key.(string))
		} else if !lately {
			c.forget(key)
		}
		return true
	})
	if n := c.other.Load(); n > 0 {
		ch <- prometheus.MustNewConstMetric(c.calls, prometheus.CounterValue, float64(n), otherCustomers)
	}
	ch <- prometheus.MustNewConstMetric(c.active, prometheus.GaugeValue, float64(active))
}

func (c *customers) forget(user any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, was := c.known.LoadAndDelete(user); was {
		c.size--
	}
}
