package pgdump

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// relations are the kinds of entries that can be asked for by name.
var relations = []string{"TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE"}

// Relation says whether an entry is a table or the like.
func (e Entry) Relation() bool { return slices.Contains(relations, e.Kind) }

// Name is the entry's name with its schema.
func (e Entry) Name() string {
	if e.Namespace == "" {
		return e.Tag
	}
	return e.Namespace + "." + e.Tag
}

// How an entry of some kind is found to belong to a relation.
var (
	ofAny  = []string{tableData, "INDEX", "COMMENT", "ACL", "SECURITY LABEL", "ROW SECURITY", "SEQUENCE SET", "SEQUENCE OWNED BY", "MATERIALIZED VIEW DATA", "STATISTICS", "STATISTICS DATA"}
	byName = []string{"CONSTRAINT", "CHECK CONSTRAINT", foreignKey, "TRIGGER", "RULE", "POLICY", "DEFAULT"} // their tag begins with the relation's
	ofAll  = []string{tableAttach, "INDEX ATTACH"}
)

const (
	foreignKey  = "FK CONSTRAINT"
	tableAttach = "TABLE ATTACH"
	schemaKind  = "SCHEMA"
)

// Choice is what of an archive is to be restored: entries by ID.
type Choice struct {
	chosen map[int]bool
	byID   map[int]Entry
	all    []Entry
	dataOf map[int][]Entry // of a relation, by its ID
}

// All chooses everything that can be restored into a database.
func (c *Contents) All() *Choice {
	ch := c.none()
	for _, e := range c.Entries {
		if !slices.Contains([]string{"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES"}, e.Kind) && !(e.Namespace == "" && strings.HasPrefix(e.Tag, "DATABASE ")) {
			ch.chosen[e.ID] = true
		}
	}
	return ch
}

func (c *Contents) none() *Choice {
	ch := &Choice{chosen: map[int]bool{}, byID: make(map[int]Entry, len(c.Entries)), all: c.Entries, dataOf: map[int][]Entry{}}
	for _, e := range c.Entries {
		ch.byID[e.ID] = e
		if e.Kind == tableData && len(e.Deps) > 0 {
			ch.dataOf[e.Deps[0]] = append(ch.dataOf[e.Deps[0]], e)
		}
	}
	return ch
}

// Choose picks relations with all that is theirs: rows, indexes, constraints, owned sequences, triggers, privileges. Tables are
// named NAME or SCHEMA.NAME, with wildcards; schemas likewise.
func (c *Contents) Choose(tables, schemas []string) (*Choice, error) {
	ch := c.none()
	for _, pattern := range tables {
		if n := ch.match(func(e Entry) bool { return e.Relation() && matches(pattern, e) }); n == 0 {
			return nil, fmt.Errorf("the dump of database %s has no table %s: --list shows what it has", c.Database, pattern)
		}
	}
	for _, pattern := range schemas {
		in := func(e Entry) bool {
			ok, err := path.Match(pattern, e.Namespace)
			return ok && err == nil || e.Namespace == pattern
		}
		if n := ch.match(func(e Entry) bool { return in(e) || e.Kind == schemaKind && in(Entry{Namespace: e.Tag}) }); n == 0 {
			return nil, fmt.Errorf("the dump of database %s has no schema %s: --list shows what it has", c.Database, pattern)
		}
	}
	for ch.grow() {
	}
	return ch, nil
}

// matches says whether a pattern names a relation.
func matches(pattern string, e Entry) bool {
	if pattern == e.Name() || pattern == e.Tag {
		return true
	}
	schema, name, both := strings.Cut(pattern, ".")
	if !both {
		schema, name = "*", pattern
	}
	a, err1 := path.Match(schema, e.Namespace)
	b, err2 := path.Match(name, e.Tag)
	return a && b && err1 == nil && err2 == nil
}

func (c *Choice) match(wanted func(Entry) bool) (n int) {
	for _, e := range c.all {
		if wanted(e) {
			c.chosen[e.ID] = true
			n++
		}
	}
	return n
}

// grow adds what belongs to what is chosen, and says whether there was any.
func (c *Choice) grow() (grew bool) {
	for _, e := range c.all {
		if !c.chosen[e.ID] && c.belongs(e) {
			c.chosen[e.ID], grew = true, true
		}
		if e.Kind != tableAttach {
			continue
		}
		for _, id := range e.Deps { // a partition comes with its table
			if d := c.byID[id]; d.Tag != e.Tag && c.chosen[id] {
				grew = c.addPartition(e) || grew
			}
		}
	}
	return grew
}

// addPartition chooses the table that an entry attaches to another.
func (c *Choice) addPartition(attach Entry) bool {
	for _, id := range attach.Deps {
		if d := c.byID[id]; d.Tag == attach.Tag && d.Namespace == attach.Namespace && d.Relation() && !c.chosen[id] {
			c.chosen[id] = true
			return true
		}
	}
	return false
}

func (c *Choice) belongs(e Entry) bool {
	is := func(id int) bool { return c.chosen[id] }
	switch {
	case slices.Contains(ofAny, e.Kind):
		return slices.ContainsFunc(e.Deps, is)
	case slices.Contains(ofAll, e.Kind):
		return len(e.Deps) > 0 && !slices.ContainsFunc(e.Deps, func(id int) bool { return !is(id) })
	case slices.Contains(byName, e.Kind):
		return slices.ContainsFunc(e.Deps, func(id int) bool {
			r := c.byID[id]
			return is(id) && r.Relation() && r.Namespace == e.Namespace && strings.HasPrefix(e.Tag, r.Tag+" ")
		})
	case e.Kind == "SEQUENCE": // one that a table owns comes with it
		return slices.ContainsFunc(e.Deps, func(id int) bool { return is(id) && c.byID[id].Kind == "TABLE" })
	}
	return false
}

// Needs lists what chosen entries depend on and that isn't chosen, in the archive's order.
func (c *Choice) Needs() []Entry {
	need := map[int]bool{}
	var visit func(id int)
	visit = func(id int) {
		for _, d := range c.byID[id].Deps {
			if _, known := c.byID[d]; known && !c.chosen[d] && !need[d] {
				need[d] = true
				visit(d)
			}
		}
	}
	for id := range c.chosen {
		if c.byID[id].Kind != foreignKey { // without its other table it is left out
			visit(id)
		}
	}
	return c.list(func(e Entry) bool { return need[e.ID] })
}

// Targets lists the tables that a chosen foreign key refers to and that aren't chosen.
func (c *Choice) Targets(key Entry) []Entry {
	return c.list(func(e Entry) bool { return e.Relation() && slices.Contains(key.Deps, e.ID) && !c.chosen[e.ID] })
}

// Entries lists what is chosen, in the archive's order.
func (c *Choice) Entries() []Entry { return c.list(func(e Entry) bool { return c.chosen[e.ID] }) }

func (c *Choice) list(wanted func(Entry) bool) []Entry {
	var out []Entry
	for _, e := range c.all {
		if wanted(e) {
			out = append(out, e)
		}
	}
	return out
}

// Add chooses an entry too; Drop leaves it out.
func (c *Choice) Add(e Entry) { c.chosen[e.ID] = true }

// Drop leaves an entry out.
func (c *Choice) Drop(e Entry) { delete(c.chosen, e.ID) }
