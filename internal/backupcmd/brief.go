package backupcmd

import "runtime/debug"

// briefHeap is what a process that archives or fetches one file may hold before garbage is collected.
const briefHeap = 160 << 20

// brief is for a process that lives for one file: what it holds is given back by its end, and collecting garbage meanwhile
// would be a tenth of its work.
func brief() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(briefHeap)
}
