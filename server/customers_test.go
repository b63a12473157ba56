package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collected sums up what the customers' metrics say: series by customer, and who is active.
func collected(t *testing.T, c *customers) (calls map[string]float64, active float64) {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	calls = map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "covetpy_active_users" {
				active = m.GetGauge().GetValue()
				continue
			}
			calls[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
		}
	}
	return calls, active
}

func TestCustomersAreBounded(t *testing.T) {
	t.Parallel()
	c := newCustomers()
	now := time.Now()
	for i := range 70_000 {
		c.count(fmt.Sprintf("user-%d", i), now)
	}
	c.count("user-0", now)
	c.count(otherCustomers, now)
	calls, active := collected(t, c)
	if len(calls) != namedCustomers+1 {
		t.Errorf("%d series, want %d", len(calls), namedCustomers+1)
	}
	if calls["user-0"] != 2 || calls[otherCustomers] != 70_000-namedCustomers+1 {
		t.Errorf("user-0 %v, other %v", calls["user-0"], calls[otherCustomers])
	}
	if active != rememberedUsers {
		t.Errorf("%v active", active)
	}
}

func TestUsersWhoHaveGoneAreForgotten(t *testing.T) {
	t.Parallel()
	c := newCustomers()
	for i := range 1000 {
		c.count(fmt.Sprintf("user-%d", i), time.Now().Add(-activeFor-time.Minute))
	}
	c.count("user-1", time.Now())
	if _, active := collected(t, c); active != 1 {
		t.Errorf("%v active", active)
	}
	if c.size != namedCustomers {
		t.Errorf("%d remembered, want those with a series", c.size)
	}
	calls, _ := collected(t, c)
	if calls["user-1"] != 2 || calls[otherCustomers] != 900 {
		t.Errorf("user-1 %v, other %v", calls["user-1"], calls[otherCustomers])
	}
}
