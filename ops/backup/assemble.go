package backup

import "errors"

// assembler renumbers units and packs so that a manifest names just those that it uses.
type assembler struct {
	m        *Manifest
	prev     *previous
	p        *packer
	packs    map[string]uint32 // index by name
	oldUnits []uint32          // by the previous manifest's numbers: the manifest's, counted from 1; 0: none yet
	newUnits []uint32          // the same by unit ids
}

// assemble builds the manifest's tables from where the pieces went.
func (p *pipeline) assemble(m *Manifest) error {
	a := &assembler{m: m, prev: p.prev, packs: map[string]uint32{}, newUnits: make([]uint32, len(p.packer.units)), p: p.packer}
	if p.prev != nil {
		a.oldUnits = make([]uint32, len(p.prev.m.Units))
	}
	m.Items = p.files
	for i := range m.Items {
		f := &m.Items[i]
		if p.layouts[i].left != 0 {
			return errors.New("internal: the end of " + f.Path + " was lost on the way")
		}
		f.Extents = p.layouts[i].extents
		for j := range f.Extents {
			a.number(&f.Extents[j])
		}
	}
	return nil
}

// number gives an extent the manifest's number of its unit.
func (a *assembler) number(e *Extent) {
	if e.Unit&oldUnit == 0 {
		e.Unit = a.unit(&a.newUnits[e.Unit], a.p.units[e.Unit], a.p.packs)
		return
	}
	old := e.Unit &^ oldUnit
	e.Unit = a.unit(&a.oldUnits[old], a.prev.m.Units[old], a.prev.m.Packs)
	a.m.ReusedBytes += int64(e.Len)
}

// unit returns the manifest's number for a unit, which it adds where it is new to it.
func (a *assembler) unit(known *uint32, u Unit, packs []Pack) uint32 {
	if *known == 0 {
		pack := packs[u.Pack]
		n, ok := a.packs[pack.Name]
		if !ok {
			n = uint32(len(a.m.Packs))
			a.m.Packs = append(a.m.Packs, pack)
			a.packs[pack.Name] = n
		}
		u.Pack = n
		a.m.Units = append(a.m.Units, u)
		*known = uint32(len(a.m.Units))
	}
	return *known - 1
}
