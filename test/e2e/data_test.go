package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/covetpy/covet/server/redisdb/redistest"
	"github.com/covetpy/covet/test/pg"
)

// standalone is a shop that runs by itself, as an application with the runtime inside does.
type standalone struct {
	t   *testing.T
	url string
	log logFile
}

func startShop(t *testing.T, env ...string) *standalone {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &standalone{t: t, url: "http://" + l.Addr().String(), log: newLog(t)}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(built.shop)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "LISTEN=" + l.Addr().String(), "LOG_FORMAT=text"}, env...)
	cmd.Stdout, cmd.Stderr = s.log.File, s.log.File
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the shop's log:\n%s", s.log.tail(60))
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the shop ended: %v", err)
		}
	})
	pgtest.Eventually(t, "the shop is ready", func() bool {
		resp, err := http.Get(s.url + "/health/ready")
		return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	return s
}

// customer is one who buys, and looks at what he has bought.
type customer struct {
	*standalone
	client http.Client
	token  string // carried by header where there is no cookie jar
}

func (s *standalone) customer(cookies bool) *customer {
	c := &customer{standalone: s, client: http.Client{Timeout: 30 * time.Second}}
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Error(err)
	}
	c.client.Jar = jar
	if !cookies {
		c.client.Jar = cartOnly{jar}
	}
	return c
}

// cartOnly keeps no cookie that says how far writes have come.
type cartOnly struct{ *cookiejar.Jar }

func (c *customer) ask(method, path, body string) (status int, text string) {
	req, err := http.NewRequest(method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Error(err)
		return 0, ""
	}
	if only, ok := c.client.Jar.(cartOnly); ok {
		for _, cookie := range only.Cookies(req.URL) {
			if cookie.Name == "covet_seen" {
				cookie.MaxAge = -1
				only.SetCookies(req.URL, []*http.Cookie{cookie})
			}
		}
		if c.token != "" {
			req.Header.Set("X-Consistency-Token", c.token)
		}
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	if token := resp.Header.Get("X-Consistency-Token"); token != "" {
		c.token = token
	}
	return resp.StatusCode, string(raw)
}

// buy returns the id of an order, or the status of what failed.
func (c *customer) buy() (id string, status int, text string) {
	if status, text := c.ask("POST", "/api/cart", `{"product":"cup","quantity":1}`); status != http.StatusOK {
		return "", status, text
	}
	status, text = c.ask("POST", "/api/checkout", "")
	var sale struct{ ID string }
	if status == http.StatusCreated {
		if err := json.Unmarshal([]byte(text), &sale); err != nil {
			c.t.Error(err)
		}
	}
	return sale.ID, status, text
}

// The primary dies under load, and the replica is promoted: reads go on, writes come back, and what was sold is there.
func TestTheShopOutlivesItsPrimary(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"synchronous_standby_names": "*", "synchronous_commit": "local"}})
	replica := pgtest.Follow(t, primary, map[string]string{"synchronous_standby_names": ""})
	primary.Exec("ALTER SYSTEM SET synchronous_commit = 'on'", "SELECT pg_reload_conf()") // what is sold is on both
	s := startShop(t, "DATABASE_URL="+primary.DSN(), "DATABASE_REPLICA_1_URL="+replica.DSN())
	end := make(chan struct{})
	var crowd sync.WaitGroup
	var mu sync.Mutex
	var sold []string
	var unknown int
	last := time.Now()
	for i := range 4 {
		crowd.Go(func() {
			for c := s.customer(i%2 == 0); ; {
				select {
				case <-end:
					return
				default:
				}
				id, status, text := c.buy()
				mu.Lock()
				switch {
				case status == http.StatusCreated:
					sold, last = append(sold, id), time.Now()
				case status == http.StatusServiceUnavailable && strings.Contains(text, "may have been taken or not"):
					unknown++
				default:
					t.Errorf("an order: %d %s", status, text)
				}
				mu.Unlock()
				if id != "" {
					if status, text := c.ask("GET", "/api/orders/"+id, ""); status != http.StatusOK {
						t.Errorf("the order that was just taken: %d %s", status, text)
					}
				}
			}
		})
		crowd.Go(func() {
			for c := s.customer(true); ; {
				select {
				case <-end:
					return
				default:
				}
				if status, text := c.ask("GET", "/api/orders/none", ""); status != http.StatusNotFound {
					t.Errorf("a read: %d %s", status, text)
				}
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(sold) }
	pgtest.Eventually(t, "orders are taken", func() bool { return count() > 50 })
	primary.Kill()
	replica.Promote()
	promoted, before := time.Now(), count()
	pgtest.Eventually(t, "orders are taken again", func() bool { return count() > before+50 })
	close(end)
	crowd.Wait()
	if took := last.Sub(promoted); took > 20*time.Second {
		t.Errorf("orders were taken again only %v after the promotion", took)
	}
	if n := replica.One("SELECT count(*) FROM shop_orders WHERE id = ANY ($1)", sold); n != fmt.Sprint(len(sold)) || unknown > 4 {
		t.Errorf("%d orders were taken, and %s are there; of %d nobody knows", len(sold), n, unknown)
	}
	if n := replica.One("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'shop'"); n == "0" {
		t.Error("the promoted server has no connections of the shop")
	}
	pgtest.Eventually(t, "every order is confirmed", func() bool {
		return replica.One("SELECT count(*) FROM shop_orders WHERE confirmed_at IS NULL") == "0"
	})
	metrics := s.page("/metrics")
	for _, want := range []string{
		fmt.Sprintf(`covetpy_database_server{role="primary",server="127.0.0.1:%d"} 1`, replica.Port),
		fmt.Sprintf(`covetpy_database_connections{server="127.0.0.1:%d",state="idle"} 0`, primary.Port),
		fmt.Sprintf(`covetpy_database_connections{server="127.0.0.1:%d",state="used"} 0`, primary.Port),
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if ready := s.page("/health/ready"); !strings.Contains(ready, "degraded") || !strings.Contains(ready, fmt.Sprint(primary.Port)) {
		t.Errorf("/health/ready does not say that a server is away: %s", ready)
	}
}

func (s *standalone) page(path string) string {
	_, text := s.customer(true).ask("GET", path, "")
	return text
}

// A replica that is seconds behind is read, but not by who has written what it lacks.
func TestTheShopsCustomersSeeTheirOrders(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t, pgtest.Options{})
	replica := pgtest.Follow(t, primary, map[string]string{"recovery_min_apply_delay": "3s"})
	s := startShop(t, "DATABASE_URL="+primary.DSN(), "DATABASE_REPLICA_1_URL="+replica.DSN(), "DATABASE_REPLICA_MAX_LAG=1h")
	pgtest.Eventually(t, "the replica has the table", func() bool {
		s.customer(true).buy()
		return replica.One("SELECT to_regclass('shop_orders') IS NOT NULL") == "true"
	})
	stale := 0
	for i := range 20 {
		c := s.customer(i%2 == 0)
		id, status, text := c.buy()
		if status != http.StatusCreated {
			t.Fatalf("an order: %d %s", status, text)
		}
		if status, text := c.ask("GET", "/api/orders/"+id, ""); status != http.StatusOK {
			t.Errorf("who has ordered does not see it (with cookies: %v): %d %s", i%2 == 0, status, text)
		}
		if status, _ := s.customer(true).ask("GET", "/api/orders/"+id, ""); status == http.StatusNotFound {
			stale++
		}
	}
	if stale == 0 {
		t.Error("nobody was answered by the replica")
	}
}

// Redis is killed, restarted and frozen under load: no request waits for it longer than 100 ms, and it is used again.
func TestNobodyWaitsForRedis(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	s := startShop(t, "REDIS_URL="+redis.URL(), "REDIS_CACHE_URL="+strings.TrimSuffix(redis.URL(), "0")+"1", "RATE_LIMIT_ENABLED=true",
		"RATE_LIMIT_PER_MINUTE=1000000", "RATE_LIMIT_PER_HOUR=100000000")
	end := make(chan struct{})
	var crowd sync.WaitGroup
	for i := range 4 {
		crowd.Go(func() {
			for c, n := s.customer(true), 0; ; n++ {
				select {
				case <-end:
					return
				case <-time.After(2 * time.Millisecond):
				}
				if status, text := c.ask("GET", fmt.Sprintf("/api/products?page=%d-%d", i, n), ""); status != http.StatusOK {
					t.Errorf("%d %s", status, text)
				}
			}
		})
	}
	up := func(want string) func() bool {
		return func() bool { return strings.Contains(s.page("/metrics"), "covetpy_redis_up "+want) }
	}
	for range 2 {
		pgtest.Eventually(t, "Redis decides", func() bool { return s.decidedBy("redis") })
		redis.Kill()
		pgtest.Eventually(t, "Redis is away", up("0"))
		pgtest.Eventually(t, "the shop decides", func() bool { return s.decidedBy("local") })
		redis.Run()
		pgtest.Eventually(t, "Redis is back", up("1"))
		pgtest.Eventually(t, "Redis decides again", func() bool { return s.decidedBy("redis") })
		redis.Stop()
		pgtest.Eventually(t, "Redis hangs", up("0"))
		redis.Continue()
		pgtest.Eventually(t, "Redis answers again", up("1"))
	}
	close(end)
	crowd.Wait()
	all, slow := s.slow("/api/products", 100*time.Millisecond)
	if all == 0 || len(slow) > 3 { // a busy machine makes one wait now and then; Redis would make all who ask it wait
		t.Errorf("of %d requests these took more than 100 ms: %v", all, slow)
	}
}

// decidedBy says whether Redis, or the shop, holds requests to their limits just now.
func (s *standalone) decidedBy(source string) bool {
	count := func() string {
		_, rest, _ := strings.Cut(s.page("/metrics"), `covetpy_rate_limit_requests_total{decision="allowed",source="`+source+`"} `)
		n, _, _ := strings.Cut(rest, "\n")
		return n
	}
	before := count()
	time.Sleep(50 * time.Millisecond)
	return count() != before
}

// slow is how many requests of a path there were, and how long those took that took longer than a limit.
func (s *standalone) slow(path string, limit time.Duration) (all int, slow []time.Duration) {
	lines := bufio.NewScanner(strings.NewReader(s.log.String()))
	for lines.Scan() {
		if !strings.Contains(lines.Text(), " path="+path+" ") {
			continue
		}
		_, rest, _ := strings.Cut(lines.Text(), " duration_ms=")
		text, _, _ := strings.Cut(rest, " ")
		took, err := time.ParseDuration(text + "ms")
		if err != nil {
			s.t.Errorf("%v: %s", err, lines.Text())
			return all, slow
		}
		all++
		if took > limit {
			slow = append(slow, took)
		}
	}
	return all, slow
}
