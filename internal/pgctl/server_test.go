package pgctl

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pgtest "github.com/covetpy/covet/test/pg"
)

func TestControl(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"max_connections": "37"}})
	bin, err := FindBin(pg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	st, err := Server{Bin: bin, Dir: pg.Dir}.Control(t.Context())
	if err != nil || st.Cluster != "in production" || st.Timeline != 1 || st.Needs["max_connections"] != "37" || len(st.Needs) != 5 {
		t.Errorf("%+v %v", st, err)
	}
	if id := pg.One("SELECT system_identifier FROM pg_control_system()"); id != st.System.String() {
		t.Errorf("system %s, the server says %s", st.System, id)
	}
}

// A server that can't recover is reported with its own words, at once.
func TestWaitReportsADeadServer(t *testing.T) {
	t.Parallel()
	pg := pgtest.Start(t, pgtest.Options{})
	pg.Stop("fast")
	signal := filepath.Join(pg.Dir, "recovery.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pgtest.Own(t, signal)
	pg.Configure(map[string]string{"restore_command": ""}) // without which recovery is refused
	bin, err := FindBin(pg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	s := Server{Bin: bin, Dir: pg.Dir, Log: filepath.Join(pg.Dir, "log"), Options: "-c listen_addresses= -k " + filepath.Dir(pg.Dir)}
	s.Credential = pgtest.Command(t, "true").SysProcAttr.Credential
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = s.Wait(t.Context(), func(State) {})
	var died *DiedError
	if !errors.As(err, &died) || !strings.Contains(died.Log, "restore_command") {
		t.Errorf("%v", err)
	}
}

func TestFindBinNamesThePackage(t *testing.T) {
	t.Parallel()
	if _, err := FindBinFor("9"); err == nil || !strings.Contains(err.Error(), "install postgresql-9") {
		t.Errorf("%v", err)
	}
}
