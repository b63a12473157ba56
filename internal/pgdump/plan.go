package pgdump

import (
	"context"
	"fmt"
)

// Plan is what a restore will do.
type Plan struct {
	Into     string     `json:"into"` // HOST:PORT/DATABASE
	Creates  bool       `json:"creates_database"`
	Atomic   bool       `json:"atomic"` // all of it happens, or nothing
	Replaces bool       `json:"replaces"`
	Objects  int        `json:"objects"`
	Bytes    int64      `json:"bytes"`    // that are read
	Restores []Restored `json:"restores"` // tables and the like
	InTheWay []string   `json:"in_the_way"`
	LeftOut  []string   `json:"left_out"` // and why

	choice *Choice
}

// Restored is one table or the like.
type Restored struct {
	Kind  string `json:"kind"`
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// Make plans the restore of a choice into a target.
func Make(ctx context.Context, s *Stored, t Target, ch *Choice, replace bool) (*Plan, error) {
	p := &Plan{Into: t.Where + "/" + t.Database, Creates: t.New, Replaces: replace, Restores: []Restored{}, InTheWay: []string{}, LeftOut: []string{}, choice: ch}
	there, err := t.Existing(ctx, s.Contents.Entries)
	if err != nil {
		return nil, err
	}
	p.complete(t, there)
	for _, e := range ch.Entries() {
		if e.Kind == schemaKind && there[e.ID] {
			ch.Drop(e)
			continue
		}
		if there[e.ID] && e.Kind != "INDEX" {
			p.InTheWay = append(p.InTheWay, e.Kind+" "+e.Name())
		}
		p.Objects++
	}
	for _, e := range ch.Entries() {
		if e.Relation() {
			p.Restores = append(p.Restores, Restored{e.Kind, e.Name(), p.bytesOf(s, e)})
		}
	}
	p.Bytes = s.Size(ch)
	return p, nil
}

// complete adds what the choice needs and the database lacks, and leaves out the foreign keys to tables that nobody has.
func (p *Plan) complete(t Target, there map[int]bool) {
	ch := p.choice
	for _, e := range ch.Needs() {
		if t.New || catalogue(e.Kind) != "" && !there[e.ID] {
			ch.Add(e)
		}
	}
	for _, e := range ch.Entries() {
		if e.Kind != foreignKey {
			continue
		}
		for _, to := range ch.Targets(e) {
			if !there[to.ID] {
				ch.Drop(e)
				p.LeftOut = append(p.LeftOut, fmt.Sprintf("foreign key %s: %s is neither there nor restored", e.Name(), to.Name()))
			}
		}
	}
}

// bytesOf is how much data a relation has.
func (p *Plan) bytesOf(s *Stored, r Entry) (n int64) {
	for _, e := range p.choice.dataOf[r.ID] {
		n += s.Bytes(e)
	}
	return n
}
