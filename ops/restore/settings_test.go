package restore

import (
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/ops/backup"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	r := Recovery{Timeline: 3, RestoreCommand: "fetch %f", Action: Promote}
	for want, target := range map[string]Target{
		"restore_command=fetch %f recovery_target_timeline=3":                                                                                                             {},
		"restore_command=fetch %f recovery_target_timeline=3 recovery_target=immediate recovery_target_action=promote":                                                    {Kind: Immediate},
		"restore_command=fetch %f recovery_target_timeline=3 recovery_target_time=2026-03-01 12:00:00.5+00 recovery_target_inclusive=true recovery_target_action=promote": {Kind: AtTime, Time: time.Date(2026, 3, 1, 13, 0, 0, 5e8, time.FixedZone("", 3600))},
		"restore_command=fetch %f recovery_target_timeline=3 recovery_target_lsn=0/1000028 recovery_target_inclusive=false recovery_target_action=promote":                {Kind: AtLSN, LSN: 0x1000028, Exclusive: true},
		"restore_command=fetch %f recovery_target_timeline=3 recovery_target_xid=77 recovery_target_inclusive=true recovery_target_action=promote":                        {Kind: AtXID, XID: 77},
		"restore_command=fetch %f recovery_target_timeline=3 recovery_target_name=it's recovery_target_action=promote":                                                    {Kind: AtName, Name: "it's"},
	} {
		var got []string
		for _, s := range Settings(target, r) {
			got = append(got, s.Name+"="+s.Value)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%v:\n got %s\nwant %s", target, strings.Join(got, " "), want)
		}
	}
}

func TestAutoConf(t *testing.T) {
	t.Parallel()
	old := "# Do not edit\nwork_mem = '4MB'\nrestore_command = 'cp'\n  Recovery_Target_Time='x'\nprimary_conninfo = 'host=a'\nmax_connections = 5"
	got := AutoConf(old, []Setting{{"recovery_target_name", `it's a \`}, {"max_connections", "9"}})
	want := "# Do not edit\nwork_mem = '4MB'\nrecovery_target_name = 'it''s a \\\\'\nmax_connections = '9'\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if again := AutoConf(got, []Setting{{"recovery_target_name", `it's a \`}, {"max_connections", "9"}}); again != want {
		t.Errorf("a second time:\n%s", again)
	}
}

func TestTablespaceMap(t *testing.T) {
	t.Parallel()
	got := TablespaceMap([]backup.Tablespace{{OID: 5}, {OID: 7}}, map[uint32]string{5: "/a b", 7: "/c\nd\\e"})
	if got != "5 /a b\n7 /c\\\nd\\\\e\n" {
		t.Errorf("%q", got)
	}
	if back := parseTablespaceMap(got); len(back) != 2 || back[5] != "/a b" || back[7] != "/c\nd\\e" {
		t.Errorf("read back: %v", back)
	}
	if back := parseTablespaceMap("x\n\n9"); len(back) != 0 {
		t.Errorf("of nonsense: %v", back)
	}
}
