package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// With covetd dead, a status looks at the repository itself: at the one that covetd knew, without being told.
func TestStatusKnowsOfBackupsWithoutCovetd(t *testing.T) {
	t.Parallel()
	b := newBook(t, "file")
	b.pg.One("SELECT pg_switch_wal()")
	var repo string
	for _, kv := range b.repo {
		if v, ok := strings.CutPrefix(kv, "COVET_REPO="); ok {
			repo = v
		}
	}
	p := empty(t, "COVET_REPO="+repo, "COVET_SERVICE=books", "BACKUP_RPO=2h")
	p.await(60*time.Second, "covetd has looked", func() bool { st := p.status(); return st.Recovery != nil && st.Recovery.Backups == 1 })
	p.kill()
	st := p.status()
	if r := st.Recovery; !st.Offline || r == nil || r.Backups != 1 || !r.RPO.Known || r.RPO.Limit.Std() != 2*time.Hour || r.Unknown != "" {
		raw, err := json.Marshal(st.Recovery)
		t.Errorf("with covetd dead: %s %v", raw, err)
	}
	if a := p.must(0, "status"); !a.says("RPO", "backups 1") {
		t.Errorf("it says: %v", a)
	}
}

// A repository that answers nothing holds no status up: what it can't tell is unknown.
func TestStatusDoesNotWaitForADeadRepository(t *testing.T) {
	t.Parallel()
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hole.Close() }() // nobody ever answered on it
	p := empty(t)
	p.kill()
	began := time.Now()
	p.must(0, "status")
	bare := time.Since(began)
	p.env = append(p.env, "COVET_REPO=s3://bucket/prod", "COVET_S3_ENDPOINT=http://"+hole.Addr().String(), "S3_REGION=us-east-1", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b")
	began = time.Now()
	a := p.told("status")
	took := time.Since(began)
	if a.code != 0 || !a.says("unknown", "was asked for 1s, and has not answered") {
		t.Errorf("it says: %v", a)
	}
	if took > bare+3*time.Second { // one, on a machine with nothing else to do
		t.Errorf("it took %s, and %s without a repository", took, bare)
	}
}

// told runs covetctl with the environment that the place's covetd has.
func (p *place) told(args ...string) answer {
	p.t.Helper()
	cmd := exec.Command(built.covetctl, append([]string{"--data-dir", p.dir}, args...)...)
	cmd.Env = append(slices.Clone(p.env), "NO_COLOR=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return answer{code: cmd.ProcessState.ExitCode(), out: out.String(), err: errs.String()}
}
