package backup

import (
	"cmp"
	"slices"
)

// assembler renumbers units and packs so that a manifest names just those that it uses.
type assembler struct {
	m        *Manifest
	prev     *previous
	p        *packer
	packs    map[string]uint32 // index by name
	oldUnits map[uint32]uint32 // from the previous manifest's numbers
	newUnits map[uint32]uint32 // from unit ids
	end      map[int]int64     // of what is placed of each file
}

func sortPlaced(ps []placed) {
	slices.SortFunc(ps, func(a, b placed) int { return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.off, b.off)) })
}

// place appends one piece to its file.
func (a *assembler) place(f *File, pl placed) {
	a.end[pl.file] = pl.off + int64(pl.ext.Len)
	e := pl.ext
	if pl.old {
		e.Unit = a.unit(a.oldUnits, e.Unit, a.prev.m.Units, a.prev.m.Packs)
		a.m.ReusedBytes += int64(e.Len)
	} else {
		e.Unit = a.unit(a.newUnits, e.Unit, nil, a.p.packs)
	}
	f.Extents = append(f.Extents, e)
}

// unit returns the manifest's number for a unit, which it adds where it is new to it.
func (a *assembler) unit(known map[uint32]uint32, id uint32, units []Unit, packs []Pack) uint32 {
	if n, ok := known[id]; ok {
		return n
	}
	var u Unit
	if units == nil {
		u = a.p.units[id]
	} else {
		u = units[id]
	}
	pack := packs[u.Pack]
	n, ok := a.packs[pack.Name]
	if !ok {
		n = uint32(len(a.m.Packs))
		a.m.Packs = append(a.m.Packs, pack)
		a.packs[pack.Name] = n
	}
	u.Pack = n
	a.m.Units = append(a.m.Units, u)
	known[id] = uint32(len(a.m.Units) - 1)
	return known[id]
}
