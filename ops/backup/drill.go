package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// DrillResult is what a trial restore measured.
type DrillResult struct {
	ID       string    `json:"id"`
	Backup   string    `json:"backup"`
	Began    time.Time `json:"began"`
	Copied   Elapsed   `json:"copied"`   // until the files were there
	Recovery Elapsed   `json:"recovery"` // until the server took writes: the recovery time that can be promised
	Point    time.Time `json:"point"`    // of the last transaction that was there; zero: none since the backup
	Checks   []Check   `json:"checks"`
}

// Check is one thing that was asked of the restored server.
type Check struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
	Says string `json:"says"`
}

// Passed says whether all checks did.
func (d DrillResult) Passed() bool {
	for _, c := range d.Checks {
		if !c.OK {
			return false
		}
	}
	return true
}

// SaveDrill keeps a result in the repository; its ID is set from its time.
func (c Cluster) SaveDrill(ctx context.Context, d *DrillResult) error {
	d.ID = newID(d.Began)
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("save the drill: %w", err)
	}
	return c.Store.Put(ctx, c.key("drills", d.ID), bytes.NewReader(text), PutOptions{IfAbsent: true})
}

// Drills lists the results, the oldest first. Those that are damaged are left out and joined into the error as ErrDamaged: the list
// is then still good.
func (c Cluster) Drills(ctx context.Context) ([]DrillResult, error) {
	keys, err := c.keys(ctx, c.key("drills")+"/")
	if err != nil {
		return nil, err
	}
	out, damaged, err := readAllJSON[DrillResult](ctx, c.Store, keys)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b DrillResult) int { return a.Began.Compare(b.Began) }) // IDs of one second sort at random
	return out, damaged
}
