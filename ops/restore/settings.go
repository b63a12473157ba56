package restore

import (
	"fmt"
	"strings"

	"github.com/covetpy/covet/ops/backup"
)

// Setting is one line of postgresql.auto.conf.
type Setting struct{ Name, Value string }

// Action is what the server does when it reaches the target.
type Action string

// The actions.
const (
	Promote  Action = "promote"
	Pause    Action = "pause"
	Shutdown Action = "shutdown"
)

// Recovery are the choices about recovery that aren't the target's.
type Recovery struct {
	Timeline       backup.Timeline
	RestoreCommand string
	Action         Action
	ArchiveOff     bool // the restored server must not archive: it is a scratch copy
}

// owned are the settings that a restore decides, whatever the backed-up server had.
var owned = []string{
	"restore_command", "recovery_target", "recovery_target_action", "recovery_target_inclusive", "recovery_target_lsn",
	"recovery_target_name", "recovery_target_time", "recovery_target_timeline", "recovery_target_xid", "recovery_end_command",
	"archive_cleanup_command", "recovery_min_apply_delay", "primary_conninfo", "primary_slot_name",
}

// Settings are those with which a server of version 12 or later recovers to the target.
func Settings(t Target, r Recovery) []Setting {
	out := []Setting{
		{"restore_command", r.RestoreCommand},
		{"recovery_target_timeline", fmt.Sprint(uint32(r.Timeline))},
	}
	switch t.Kind {
	case Immediate:
		out = append(out, Setting{"recovery_target", "immediate"})
	case AtTime:
		out = append(out, Setting{"recovery_target_time", t.Time.UTC().Format("2006-01-02 15:04:05.999999+00")})
	case AtLSN:
		out = append(out, Setting{"recovery_target_lsn", t.LSN.String()})
	case AtXID:
		out = append(out, Setting{"recovery_target_xid", fmt.Sprint(t.XID)})
	case AtName:
		out = append(out, Setting{"recovery_target_name", t.Name})
	}
	if t.Kind == AtTime || t.Kind == AtLSN || t.Kind == AtXID {
		out = append(out, Setting{"recovery_target_inclusive", fmt.Sprint(!t.Exclusive)})
	}
	if t.Kind != Latest {
		out = append(out, Setting{"recovery_target_action", string(r.Action)})
	}
	if r.ArchiveOff {
		out = append(out, Setting{"archive_mode", "off"})
	}
	return out
}

// AutoConf returns the content of postgresql.auto.conf with the settings in it, and without earlier ones of the same
// names or about recovery.
func AutoConf(old string, settings []Setting) string {
	drop := map[string]bool{}
	for _, name := range owned {
		drop[name] = true
	}
	for _, s := range settings {
		drop[s.Name] = true
	}
	var b strings.Builder
	for line := range strings.Lines(old) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		if !drop[strings.ToLower(strings.TrimSpace(name))] {
			b.WriteString(strings.TrimRight(line, "\n") + "\n")
		}
	}
	for _, s := range settings {
		fmt.Fprintf(&b, "%s = '%s'\n", s.Name, strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(s.Value))
	}
	return b.String()
}

// TablespaceMap returns the content of the tablespace_map file, by which the server links the tablespaces when recovery
// begins; locations are by OID.
func TablespaceMap(spaces []backup.Tablespace, location map[uint32]string) string {
	var b strings.Builder
	for _, t := range spaces {
		fmt.Fprintf(&b, "%d %s\n", t.OID, strings.NewReplacer("\\", "\\\\", "\n", "\\\n", "\r", "\\\r").Replace(location[t.OID]))
	}
	return b.String()
}
