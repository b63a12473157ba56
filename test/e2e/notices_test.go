package e2e

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/covetpy/covet/test/pg"
)

// post is a mail server and a webhook that keep what they get.
type post struct {
	t     *testing.T
	mu    sync.Mutex
	mails []string
	hooks []string
	fails int // how many posts to the webhook are refused yet
}

const hookSecret = "of the webhook"

// openPost starts both, and returns what covetd must know of them.
func openPost(t *testing.T) (p *post, env []string) {
	t.Helper()
	p = &post{t: t, fails: 1}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			go p.converse(c)
		}
	}()
	hook := httptest.NewServer(p)
	t.Cleanup(hook.Close)
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return p, []string{"SMTP_HOST=127.0.0.1", "SMTP_PORT=" + port, "ADMIN_EMAIL=oncall@shop.example,lead@shop.example",
		"NOTIFY_WEBHOOK_URL=" + hook.URL, "NOTIFY_WEBHOOK_SECRET=" + hookSecret}
}

// converse is a mail server's side of RFC 5321. It does not take mail for the lead.
func (p *post) converse(c net.Conn) {
	defer func() { _ = c.Close() }() // the client may have been first
	r := textproto.NewReader(bufio.NewReader(c))
	say := func(s string) { _, _ = io.WriteString(c, s+"\r\n") }
	say("220 sink ESMTP")
	for {
		line, err := r.ReadLine()
		if err != nil {
			return
		}
		switch {
		case strings.HasPrefix(line, "QUIT"):
			say("221 bye")
			return
		case strings.HasPrefix(line, "RCPT TO:<lead@"):
			say("550 nobody of that name")
		case strings.HasPrefix(line, "DATA"):
			say("354 go on")
			lines, err := r.ReadDotLines()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.mails = append(p.mails, strings.Join(lines, "\n"))
			p.mu.Unlock()
			say("250 taken")
		default:
			say("250 ok")
		}
	}
}

func (p *post) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Error(err)
	}
	at, mac, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("X-Covet-Signature"), "t="), ",v1=")
	want := hmac.New(sha256.New, []byte(hookSecret))
	want.Write([]byte(at + "."))
	want.Write(body)
	if mac != hex.EncodeToString(want.Sum(nil)) {
		p.t.Errorf("the signature of %s is wrong", body)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fails > 0 {
		p.fails--
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	p.hooks = append(p.hooks, string(body))
}

// told says how often the mail and the webhook spoke of something.
func (p *post) told(words string) (mails, hooks int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.mails {
		mails += strings.Count(strings.ReplaceAll(m, "=\n", ""), "\n"+words) // the line of the text, not the subject
	}
	for _, h := range p.hooks {
		var n struct{ Text string }
		if err := json.Unmarshal([]byte(h), &n); err != nil {
			p.t.Error(err)
		}
		if strings.HasPrefix(n.Text, words) {
			hooks++
		}
	}
	return mails, hooks
}

// People hear of a rollback and of an incident once by each way, the database being there or not.
func TestPeopleAreToldWithAndWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t, pgtest.Options{})
	post, env := openPost(t)
	p := serving(t, 1, append(env, "DATABASE_URL="+cluster.DSN(), "JWT_SECRET_KEY="+strings.Repeat("k", 64))...)
	p.usersSignIn(cluster.DSN())

	p.shop("v1.1.0", 1, "SHOP_EXIT_AT_START=3")
	p.must(5, "rollout", "start", "v1.1.0", "--bake", "0s", "--watch")
	both := func(words string) func() bool {
		return func() bool { mails, hooks := post.told(words); return mails == 1 && hooks == 1 }
	}
	p.await(60*time.Second, "people know of the rollback", both("rolled back"))
	if n := cluster.One("SELECT count(*) FROM river_job WHERE state = 'completed'"); n == "0" {
		t.Error("no notice was in the database's queue")
	}

	cluster.Kill()
	p.must(0, "incident", "open", "--severity", "P0", "--reason", "the database is down")
	p.await(60*time.Second, "people know of the incident although the database is away", both("P0 incident i-1 opened: the database is down"))
	p.await(60*time.Second, "covetd is not ready", func() bool { return p.get("/health/ready") == http.StatusServiceUnavailable })
	if mails, hooks := post.told("rolled back"); mails != 1 || hooks != 1 {
		t.Errorf("of the rollback people were told %d times by mail and %d times by webhook", mails, hooks)
	}
}

// usersSignIn makes a user with covetctl, who gets a token of covetd until he is disabled.
func (p *place) usersSignIn(dsn string) {
	p.t.Helper()
	add := exec.Command(built.covetctl, "user", "add", "ann", "--role", "team-lead", "--password-stdin", "--database-url", dsn)
	add.Stdin, add.Dir = strings.NewReader("correct horse battery\n"), p.dir
	if out, err := add.CombinedOutput(); err != nil {
		p.t.Fatalf("covetctl user add: %v\n%s", err, out)
	}
	signIn := func(password string) int {
		resp, err := http.PostForm(p.url+"/auth/token", map[string][]string{"username": {"ann"}, "password": {password}})
		if err != nil {
			p.t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			p.t.Error(err)
		}
		return resp.StatusCode
	}
	if got := signIn("correct horse battery"); got != http.StatusOK {
		p.t.Errorf("ann signs in: %d", got)
	}
	if got := signIn("wrong horse"); got != http.StatusUnauthorized {
		p.t.Errorf("with a wrong password: %d", got)
	}
	if a := p.must(0, "user", "list", "-o", "json", "--database-url", dsn); !a.says(`"ann"`, `"team-lead"`) {
		p.t.Errorf("users: %s", a)
	}
	p.must(0, "user", "disable", "ann", "--database-url", dsn)
	if got := signIn("correct horse battery"); got != http.StatusUnauthorized {
		p.t.Errorf("disabled: %d", got)
	}
	if a := p.must(0, "user", "history", "--database-url", dsn); !a.says("disabled", "added, team-lead") {
		p.t.Errorf("history of users: %s", a)
	}
}
