package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/covetpy/covet/server"
	"github.com/covetpy/covet/server/auth"
	"github.com/covetpy/covet/server/config"
	"github.com/go-chi/chi/v5"
)

// stackKey signs the token that all requests of the stack's measurement carry.
const stackKey = "only-for-measurements-only-for-measurements-only-for-measurements"

// product is the answer of all contenders: a small JSON object, with as much text as makes size bytes.
func product(size int) string {
	text := `{"id":"42","name":"tea"}`
	if more := size - len(text) - len(`,"text":""`); more > 0 {
		text = text[:len(text)-1] + `,"text":"` + strings.Repeat("a cup of tea, and another one. ", more/31+1)[:more] + `"}`
	}
	return text
}

func answerProduct(size int) http.HandlerFunc {
	text := product(size)
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text) // an error is the client's leaving
	}
}

// serveChi answers with the bare router.
func serveChi(listen string, size int) error {
	r := chi.NewRouter()
	r.Get("/api/products/{id}", answerProduct(size))
	return serve(listen, r)
}

// serveWhole answers with everything that the runtime does to a request: a token and its role, limits by address and by
// user, headers, CORS, metrics, the log as JSON in a file, and gzip.
func serveWhole(listen, dir, redis string, size int) error {
	s, err := server.New(config.Config{
		Listen: listen, DataDir: dir, LogFile: filepath.Join(dir, "access.log"), LogFormat: "json", GzipEnabled: true, PrometheusEnabled: true,
		Security: config.SecurityConfig{
			RateLimitEnabled: true, RateLimitPerMinute: 1_000_000_000, RateLimitPerHour: 1_000_000_000, RedisURL: config.Secret(redis),
			JWTSecretKey: stackKey, CORSOrigins: []string{"https://shop.example"},
		},
	})
	if err != nil {
		return err
	}
	s.Router().With(server.RequireRole("engineer")).Get("/api/products/{id}", answerProduct(size))
	return s.Run(context.Background())
}

// stackToken is one that serveWhole takes.
func stackToken(ctx context.Context) (string, error) {
	tokens, err := auth.NewTokens(auth.Config{Key: []byte(stackKey), Algorithm: "HS256", Issuer: "app", Audience: "app",
		AccessTTL: time.Hour, RefreshTTL: time.Hour}, auth.NewMemory())
	if err != nil {
		return "", err
	}
	pair, err := tokens.Issue(ctx, auth.User{Name: "alice", Roles: []string{"engineer"}})
	return pair.AccessToken, err
}

// caddyStack answers as the stack does, without tokens and limits, which Caddy has none of: headers, log and gzip.
func caddyStack(dir, listen string, size int) string {
	return fmt.Sprintf(`{
	admin off
	auto_https off
	persist_config off
}
http://%s {
	log {
		output file %s/access.log
		format json
	}
	encode gzip
	header {
		X-Content-Type-Options nosniff
		X-Frame-Options DENY
		Referrer-Policy strict-origin-when-cross-origin
		Content-Type application/json
	}
	respond %s 200
}
`, listen, dir, "`"+product(size)+"`")
}

// stackContenders lists the whole stack with its limits in memory and in Redis, and what it is measured against.
func stackContenders(s settings, redis string, size int) []contender {
	self := func(args ...string) func(context.Context, string, string, string) (*exec.Cmd, error) {
		return func(ctx context.Context, dir, listen, _ string) (*exec.Cmd, error) {
			exe, err := os.Executable()
			if err != nil {
				return nil, err
			}
			return exec.CommandContext(ctx, exe, append([]string{args[0], listen, fmt.Sprint(size), dir}, args[1:]...)...), nil
		}
	}
	out := []contender{{name: "stack", command: self("stack", "")}, {name: "chi", command: self("chi")}}
	if redis != "" {
		out = append(out, contender{name: "stack_redis", command: self("stack", redis)})
	}
	return append(out, contender{
		name: "caddy", hint: "go build -C bench/tools -o DIR/caddy github.com/caddyserver/caddy/v2/cmd/caddy, then -caddy DIR/caddy",
		command: func(ctx context.Context, dir, listen, _ string) (*exec.Cmd, error) {
			return configured(ctx, filepath.Join(dir, "Caddyfile"), caddyStack(dir, listen, size), s.caddy, "run", "--adapter", "caddyfile", "--config")
		},
	})
}

// runStack measures the whole stack against the bare router and Caddy.
func runStack(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "bench-stack-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	redis, stop, err := startRedis(ctx, dir)
	if err != nil {
		return err
	}
	defer stop()
	token, err := stackToken(ctx)
	if err != nil {
		return err
	}
	for _, size := range s.sizes {
		if err := compareStack(ctx, s, filepath.Join(dir, fmt.Sprint(size)), redis, token, size); err != nil {
			return err
		}
	}
	return nil
}

func compareStack(ctx context.Context, s settings, dir, redis, token string, size int) error {
	var running []*process
	for _, c := range stackContenders(s, redis, size) {
		c.path, c.headers = "/api/products/42", []string{"Authorization: Bearer " + token, "Accept-Encoding: gzip"}
		p, err := c.start(ctx, dir, "")
		if errors.Is(err, exec.ErrNotFound) {
			fmt.Printf("# %s left out: %v (%s)\n", c.name, err, c.hint)
			continue
		}
		if err != nil {
			return err
		}
		defer p.stop()
		running = append(running, p)
	}
	results := make(map[string][]result)
	for range s.rounds {
		for _, p := range running {
			r, err := measure(ctx, s, p)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			results[p.name] = append(results[p.name], r)
		}
	}
	return printStack(results, size)
}

// printStack prints a line for each way the stack was measured.
func printStack(results map[string][]result, size int) error {
	for _, name := range []string{"stack", "stack_redis"} {
		if len(results[name]) == 0 {
			continue
		}
		ours := median(results[name])
		line := fmt.Sprintf("bench %s_cpu_per_request body=%d us=%.2f rps=%.0f", name, size, ours.cpu, ours.rps)
		for _, peer := range []string{"chi", "caddy"} {
			if len(results[peer]) > 0 {
				m := median(results[peer])
				fmt.Printf("# %-8s body=%d us=%.2f rps=%.0f\n", peer, size, m.cpu, m.rps)
				line += fmt.Sprintf(" ratio_%s=%.2f", peer, ours.cpu/m.cpu)
			}
		}
		fmt.Println(line)
	}
	return nil
}

// startRedis starts a Redis of its own on a free port, or returns "" where there is none to start.
func startRedis(ctx context.Context, dir string) (url string, stop func(), err error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		fmt.Println("# stack_redis left out: redis-server is not installed")
		return "", func() {}, nil //nolint:nilerr // measured without
	}
	addr, err := freeAddr()
	if err != nil {
		return "", nil, err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir)
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start redis: %w", err)
	}
	stop = func() {
		_ = cmd.Process.Kill() // it keeps nothing
		_ = cmd.Wait()
	}
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			return "redis://" + addr, stop, c.Close()
		}
		select {
		case <-ctx.Done():
			stop()
			return "", nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
