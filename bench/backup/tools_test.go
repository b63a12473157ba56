package backup

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	pgtest "github.com/covetpy/covet/test/pg"
	s3test "github.com/covetpy/covet/test/s3"
)

// tool is one contender, as shell commands that run as the server's user in its data directory. {DIR} is where to
// restore to. An empty command is something that it doesn't do.
type tool struct {
	name, bucket  string
	prepare       string
	full, again   string
	restore       string
	push, fetch   string // archive_command and restore_command
	replay        string // restore_command where it must know the server's directory, {DIR}; empty: fetch
	configures    bool   // its restore writes the recovery settings
	daemon        string // runs while push is measured
	baseOnly      bool   // it archives as another, for which that is measured
	out           bool   // failed, and left out from then on
	stored        int64
	first         float64 // s until the full backup's first content was stored
	results       map[string]result
	perPush, perG []float64
}

// result is what something took.
type result struct {
	wall, cpu float64 // s
	rss       int64   // KiB
}

// enlist makes the contenders: ours first, then those that are installed.
func (a *arena) enlist() {
	a.b.Helper()
	a.tools = append(a.ours(), a.backrest()...)
	a.tools = append(a.tools, a.barman()...)
	a.tools = append(a.tools, a.walg()...)
	a.tools = append(a.tools, a.baseBackup())
	for _, t := range a.tools {
		t.results = map[string]result{}
	}
}

func installed(program, without string) bool {
	if _, err := exec.LookPath(program); err == nil {
		return true
	}
	fmt.Printf("# %s is not here: left out (%s)\n", program, without)
	return false
}

func (a *arena) ours() []*tool {
	bin := filepath.Join(a.dir, "covetctl")
	copyFile(a.b, os.Getenv("COVET_BIN")+"/covetctl", bin)
	t := &tool{name: "covet", bucket: a.s3.Bucket(a.b), configures: true}
	repo := " --repo s3://" + t.bucket
	run := bin + " backup run --wait-wal 60s --database-url '" + a.pg.DSN() + "'"
	t.again = run + " --pgdata " + a.pg.Dir + repo
	t.full = t.again + " --full"
	t.restore = bin + " restore --archive off --to {DIR}" + repo
	t.push = bin + " wal push %p" + repo
	t.fetch = bin + " wal fetch %f %p" + repo
	remote := &tool{name: "covet_remote", bucket: a.s3.Bucket(a.b), baseOnly: true}
	repo = " --repo s3://" + remote.bucket
	remote.again, remote.push = run+repo, bin+" wal push %p"+repo
	remote.full = remote.again + " --full"
	agent := &tool{name: "covet_agent", bucket: a.s3.Bucket(a.b)}
	repo = " --repo s3://" + agent.bucket + " --agent " + filepath.Join(a.dir, "agent.sock")
	agent.push, agent.daemon = bin+" wal push %p"+repo, "exec "+bin+" wal agent"+repo
	return []*tool{t, agent, remote}
}

func (a *arena) backrest() []*tool {
	if !installed("pgbackrest", "apt-get install pgbackrest") {
		return nil
	}
	t := &tool{name: "pgbackrest", bucket: a.s3.Bucket(a.b), configures: true}
	base := fmt.Sprintf(`[global]
repo1-type=s3
repo1-path=/
repo1-s3-bucket=%s
repo1-s3-endpoint=localhost
repo1-storage-port=%d
repo1-s3-uri-style=path
repo1-s3-region=us-east-1
repo1-s3-key=%s
repo1-s3-key-secret=%s
repo1-storage-ca-file=%s
repo1-retention-full=9
compress-type=zst
compress-level=1
process-max=2
start-fast=y
log-level-console=error
log-level-file=off
log-path=%[7]s
lock-path=%[7]s
spool-path=%[7]s/backrest-spool
`, t.bucket, a.s3.Port, s3test.AccessKey, s3test.SecretKey, a.s3.CAFile, "", a.dir)
	stanza := fmt.Sprintf("\n[bench]\npg1-path=%s\npg1-port=%d\npg1-socket-path=%s\n", a.pg.Dir, a.pg.Port, filepath.Dir(a.pg.Dir))
	config := a.write("pgbackrest.conf", base+stanza)
	command := "pgbackrest --config=" + config + " --stanza=bench "
	t.prepare = command + "stanza-create"
	t.full, t.again = command+"--type=full backup", command+"--type=incr backup"
	t.restore = command + "--pg1-path={DIR} --archive-mode=off restore"
	t.push, t.fetch = command+"archive-push %p", command+"archive-get %f %p"
	t.replay = command + "--pg1-path={DIR} archive-get %f %p"
	async := &tool{name: "pgbackrest_async", bucket: t.bucket, prepare: t.prepare}
	command = "pgbackrest --config=" + a.write("pgbackrest-async.conf", base+"archive-async=y\n"+stanza) + " --stanza=bench "
	async.push, async.replay = command+"archive-push %p", command+"--pg1-path={DIR} archive-get %f %p"
	return []*tool{t, async}
}

func (a *arena) barman() []*tool {
	if !installed("barman-cloud-backup", "apt-get install barman-cli-cloud") {
		return nil
	}
	t := &tool{name: "barman_cloud", bucket: a.s3.Bucket(a.b)}
	where := fmt.Sprintf(" --endpoint-url %s s3://%s bench ", a.s3.Endpoint, t.bucket)
	t.full = fmt.Sprintf("barman-cloud-backup -h 127.0.0.1 -p %d -U postgres --immediate-checkpoint", a.pg.Port) + where
	newest := "$(barman-cloud-backup-list" + where + "| awk '/^2/ {print $1}' | sort | tail -n 1)" // "last" is not known to every version
	t.restore = "barman-cloud-restore" + where + newest + " {DIR}"
	t.push = "barman-cloud-wal-archive -z" + where + "%p"
	t.fetch = "barman-cloud-wal-restore" + where + "%f %p"
	return []*tool{t}
}

func (a *arena) walg() []*tool {
	if !installed("wal-g", "the Go module proxy doesn't serve github.com/wal-g/wal-g: put a build of its main/pg on the PATH") {
		return nil
	}
	t := &tool{name: "walg_zstd", bucket: a.s3.Bucket(a.b)}
	command := fmt.Sprintf("AWS_ENDPOINT=%s AWS_S3_FORCE_PATH_STYLE=true WALG_S3_CA_CERT_FILE=%s WALG_S3_PREFIX=s3://%s WALG_COMPRESSION_METHOD=zstd WALG_DELTA_MAX_STEPS=6 PGHOST=127.0.0.1 PGPORT=%d PGUSER=postgres PGDATA=%s wal-g ",
		a.s3.Endpoint, a.s3.CAFile, t.bucket, a.pg.Port, a.pg.Dir)
	t.full, t.again = command+"backup-push --full "+a.pg.Dir, command+"backup-push "+a.pg.Dir
	t.restore = command + "backup-fetch {DIR} LATEST"
	t.push, t.fetch = command+"wal-push %p", command+"wal-fetch %f %p"
	return []*tool{t}
}

func (a *arena) baseBackup() *tool {
	into := filepath.Join(a.dir, "basebackup")
	return &tool{
		name:    "pg_basebackup",
		full:    fmt.Sprintf("rm -rf %s && pg_basebackup -d '%s' -D %s -Ft -X fetch --compress=client-zstd:1 -c fast", into, a.pg.DSN(), into),
		restore: fmt.Sprintf("mkdir -m 700 {DIR} && zstd -dc %s/base.tar.zst | tar -x -C {DIR}", into),
	}
}

// write makes a file that the server's user can read.
func (a *arena) write(name, text string) string {
	a.b.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		a.b.Fatal(err)
	}
	pgtest.Own(a.b, path)
	return path
}

func (a *arena) storedBy(t *tool) int64 {
	a.b.Helper()
	return treeSize(a.b, a.place(t))
}

// place is the folder below which a tool's backups are in the end.
func (a *arena) place(t *tool) string {
	if t.bucket == "" {
		return filepath.Join(a.dir, "basebackup")
	}
	return a.s3.Path(t.bucket, "")
}

// command prepares one of a tool's commands.
func (a *arena) command(text string) *exec.Cmd {
	cmd := pgtest.Command(a.b, "sh", "-c", text)
	cmd.Env, cmd.Dir = a.env, a.pg.Dir
	return cmd
}

// try runs a command of a tool; one that fails is left out from then on, and the reason printed.
func (a *arena) try(t *tool, text string) bool {
	out, err := a.command(text).CombinedOutput()
	if err != nil {
		t.fail(text, err, out)
	}
	return err == nil
}

func (t *tool) fail(text string, err error, out []byte) {
	t.out = true
	last := strings.TrimSpace(string(out))
	fmt.Printf("# %s is left out: %s: %v: %s\n", t.name, text, err, strings.ReplaceAll(last[max(0, len(last)-400):], "\n", " | "))
}

// measure runs a command, and keeps what it took.
func (t *tool) measure(a *arena, key, text string) {
	if t.out {
		return
	}
	r, ok := t.take(a, text)
	if ok {
		t.results[key] = r
	}
}

func (t *tool) take(a *arena, text string) (result, bool) { return t.run(a, text, watchPeak) }

// time is take without the memory: looking for it would disturb what takes a moment only.
func (t *tool) time(a *arena, text string) (result, bool) {
	return t.run(a, text, func(int) func() int64 { return func() int64 { return 0 } })
}

func (t *tool) run(a *arena, text string, watch func(group int) (peak func() int64)) (result, bool) {
	cmd := a.command(text)
	cmd.SysProcAttr.Setpgid = true
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := nowSeconds()
	err := cmd.Start()
	if err == nil {
		peak := watch(cmd.Process.Pid)
		err = cmd.Wait()
		if rss := peak(); err == nil {
			return result{wall: nowSeconds() - began, cpu: cpuOf(cmd.ProcessState), rss: rss}, true
		}
	}
	t.fail(text, err, out.Bytes())
	return result{}, false
}
