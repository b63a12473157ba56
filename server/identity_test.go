package server

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/server/auth"
	"github.com/covetpy/covet/server/config"
	"github.com/covetpy/covet/server/redisdb/redistest"
	"github.com/golang-jwt/jwt/v5"
)

var jwtKey = strings.Repeat("k", 64)

// serveIdentity is a service with the users alice, an engineer, and bob, who may do nothing.
func serveIdentity(t *testing.T, security config.SecurityConfig) *served {
	t.Helper()
	users := filepath.Join(t.TempDir(), "users")
	for name, roles := range map[string][]string{"alice": {"engineer"}, "bob": nil} {
		if err := auth.AddUser(users, auth.User{Name: name, Roles: roles}, name+"'s password"); err != nil {
			t.Fatal(err)
		}
	}
	security.JWTSecretKey, security.AuthUsersFile = config.Secret(jwtKey), users
	return serveStack(t, config.Config{Service: "shop", PrometheusEnabled: true, Security: security}, func(s *Server) {
		s.Router().Get("/open", func(w http.ResponseWriter, r *http.Request) {
			if p := auth.PrincipalFrom(r.Context()); p != nil {
				_, _ = io.WriteString(w, p.User)
			}
		})
		whoami := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, auth.PrincipalFrom(r.Context()).User)
		})
		s.Router().Method(http.MethodGet, "/mine", RequireRole()(whoami))
		s.Router().Method(http.MethodGet, "/engineers", RequireRole("engineer", "team-lead")(whoami))
	})
}

func (s *served) tokens(t *testing.T, path string, fields map[string]string) (auth.Pair, *http.Response, string) {
	t.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	resp, text := s.do(t, "POST", path, strings.NewReader(string(body)), "Content-Type", "application/json")
	var pair auth.Pair
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal([]byte(text), &pair); err != nil {
			t.Fatal(err)
		}
	}
	return pair, resp, text
}

func TestLoginRefreshRevoke(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	for name, security := range map[string]config.SecurityConfig{"memory": {}, "redis": {RedisURL: config.Secret(redis.URL())}} {
		s := serveIdentity(t, security)
		pair, resp, text := s.tokens(t, "/auth/token", map[string]string{"username": "alice", "password": "alice's password"})
		if resp.StatusCode != http.StatusOK || pair.TokenType != "Bearer" || pair.ExpiresIn != 900 || resp.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%s: %d %s", name, resp.StatusCode, text)
		}
		for path, want := range map[string]string{"/open": "alice", "/mine": "alice", "/engineers": "alice"} {
			if resp, body := s.do(t, "GET", path, nil, "Authorization", "Bearer "+pair.AccessToken); resp.StatusCode != http.StatusOK || body != want {
				t.Errorf("%s: %s: %d %s", name, path, resp.StatusCode, body)
			}
		}
		next, resp, _ := s.tokens(t, "/auth/refresh", map[string]string{"refresh_token": pair.RefreshToken})
		if resp.StatusCode != http.StatusOK || next.RefreshToken == pair.RefreshToken {
			t.Fatalf("%s: refresh: %d", name, resp.StatusCode)
		}
		if _, resp, text := s.tokens(t, "/auth/refresh", map[string]string{"refresh_token": pair.RefreshToken}); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(text, "used before") {
			t.Errorf("%s: a replayed refresh token: %d %s", name, resp.StatusCode, text)
		}
		for _, token := range []string{pair.AccessToken, next.AccessToken} {
			resp, body := s.do(t, "GET", "/mine", nil, "Authorization", "bearer "+token)
			if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "revoked") || !strings.Contains(resp.Header.Get("WWW-Authenticate"), "invalid_token") {
				t.Errorf("%s: after the replay: %d %s", name, resp.StatusCode, body)
			}
		}
		again, _, _ := s.tokens(t, "/auth/token", map[string]string{"username": "alice", "password": "alice's password"})
		if resp, _ := s.do(t, "POST", "/auth/revoke", strings.NewReader("token="+again.AccessToken), "Content-Type", "application/x-www-form-urlencoded"); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: revoke: %d", name, resp.StatusCode)
		}
		if resp, _ := s.do(t, "GET", "/mine", nil, "Authorization", "Bearer "+again.AccessToken); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: after revoking: %d", name, resp.StatusCode)
		}
		_, text = s.do(t, "GET", "/metrics", nil)
		for _, want := range []string{`covetpy_failed_authentications_total{reason="reused"} 1`, `covetpy_failed_authentications_total{reason="revoked"} 3`,
			`covetpy_requests_total{endpoint="/auth/token",method="POST",status="200"} 2`} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the metrics lack %s", name, want)
			}
		}
	}
}

func TestRolesAndForgedTokens(t *testing.T) {
	t.Parallel()
	s := serveIdentity(t, config.SecurityConfig{})
	bob, _, _ := s.tokens(t, "/auth/token", map[string]string{"username": "bob", "password": "bob's password"})
	forged := func(method jwt.SigningMethod, key any) string {
		text, err := jwt.NewWithClaims(method, jwt.MapClaims{"iss": "shop", "aud": "shop", "sub": "alice", "jti": "1", "fam": "f", "use": "access",
			"roles": []string{"engineer"}, "exp": time.Now().Add(time.Hour).Unix()}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, c := range map[string]struct {
		header    string
		mine, eng int
	}{
		"nobody":        {"", 401, 401},
		"bob":           {"Bearer " + bob.AccessToken, 200, 403},
		"right key":     {"Bearer " + forged(jwt.SigningMethodHS256, []byte(jwtKey)), 200, 200},
		"wrong key":     {"Bearer " + forged(jwt.SigningMethodHS256, []byte("guess")), 401, 401},
		"alg none":      {"Bearer " + forged(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType), 401, 401},
		"alg HS384":     {"Bearer " + forged(jwt.SigningMethodHS384, []byte(jwtKey)), 401, 401},
		"refresh token": {"Bearer " + bob.RefreshToken, 401, 401},
		"basic":         {"Basic YWxpY2U6eA==", 401, 401},
		"scheme alone":  {"Bearer ", 401, 401},
		"huge":          {"Bearer " + strings.Repeat("x", 20_000), 401, 401},
	} {
		for path, want := range map[string]int{"/mine": c.mine, "/engineers": c.eng, "/open": 200} {
			if resp, body := s.do(t, "GET", path, nil, "Authorization", c.header); resp.StatusCode != want {
				t.Errorf("%s: %s: %d, want %d: %s", name, path, resp.StatusCode, want, body)
			}
		}
	}
}

func TestLoginRefusals(t *testing.T) {
	t.Parallel()
	s := serveIdentity(t, config.SecurityConfig{})
	for _, c := range []struct {
		body, kind string
		want       int
	}{
		{`{"username":"alice","password":"wrong"}`, "application/json", 401},
		{`{"username":"carol","password":"alice's password"}`, "application/json", 401},
		{`{"username":"alice"}`, "application/json", 400},
		{`{"username":1}`, "application/json", 400},
		{`nonsense`, "application/json", 400},
		{`username=alice`, "text/plain", 400},
		{`{"username":"` + strings.Repeat("x", maxLoginBody) + `"}`, "application/json", 413},
	} {
		if resp, text := s.do(t, "POST", "/auth/token", strings.NewReader(c.body), "Content-Type", c.kind); resp.StatusCode != c.want {
			t.Errorf("%.40s: %d, want %d: %s", c.body, resp.StatusCode, c.want, text)
		}
	}
	if resp, _ := s.do(t, "GET", "/auth/token", nil); resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d", resp.StatusCode)
	}
	// Guessing is slow, whatever the rate limits.
	status := 0
	for n := 0; n < 40 && status != http.StatusTooManyRequests; n++ { // on a slow machine some come back meanwhile
		_, resp, _ := s.tokens(t, "/auth/token", map[string]string{"username": "alice", "password": "guess"})
		status = resp.StatusCode
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("the fortieth guess: %d, want 429", status)
	}
	if resp, _ := s.do(t, "GET", "/mine", nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("other routes: %d", resp.StatusCode)
	}
}

// Two addresses of one user share the user's rate.
func TestRateLimitByUser(t *testing.T) {
	t.Parallel()
	s := serveIdentity(t, config.SecurityConfig{RateLimitEnabled: true, RateLimitPerMinute: 6})
	s.cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	pair, _, _ := s.tokens(t, "/auth/token", map[string]string{"username": "alice", "password": "alice's password"})
	ok := 0
	for _, address := range []string{"203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"} {
		for range 5 {
			if resp, _ := s.do(t, "GET", "/mine", nil, "Authorization", "Bearer "+pair.AccessToken, "X-Forwarded-For", address); resp.StatusCode == http.StatusOK {
				ok++
			}
		}
	}
	if ok < 6 || ok > 7 { // one more comes back each ten seconds
		t.Errorf("%d requests of one user got through, want 6", ok)
	}
}

func TestIdentitySettings(t *testing.T) {
	t.Parallel()
	users := filepath.Join(t.TempDir(), "users")
	if err := auth.AddUser(users, auth.User{Name: "alice"}, "x"); err != nil {
		t.Fatal(err)
	}
	long, other := strings.Repeat("a", 64), strings.Repeat("b", 64)
	redis := "REDIS_URL=redis://127.0.0.1:1"
	for name, c := range map[string]struct {
		env  []string
		says string // empty: right
	}{
		"short key":        {[]string{"ENVIRONMENT=production", "JWT_SECRET_KEY=" + long[:63]}, "JWT_SECRET_KEY (environment): has 63 characters, production needs at least 64"},
		"same keys":        {[]string{"ENVIRONMENT=production", "JWT_SECRET_KEY=" + long, "SECRET_KEY=" + long}, "is the same as SECRET_KEY"},
		"debug":            {[]string{"ENVIRONMENT=production", "DEBUG=true"}, "DEBUG (environment): is on"},
		"short secret":     {[]string{"ENVIRONMENT=production", "SECRET_KEY=" + other[:31]}, "production needs at least 32"},
		"users, no key":    {[]string{"AUTH_USERS_FILE=" + users}, "JWT_SECRET_KEY: is missing beside AUTH_USERS_FILE"},
		"users, no redis":  {[]string{"ENVIRONMENT=production", "JWT_SECRET_KEY=" + long, "AUTH_USERS_FILE=" + users}, "REDIS_URL: is missing"},
		"no users":         {[]string{"JWT_SECRET_KEY=" + long, "AUTH_USERS_FILE=" + users + ".gone"}, "AUTH_USERS_FILE (environment): cannot be used"},
		"algorithm":        {[]string{"JWT_ALGORITHM=none"}, "JWT_ALGORITHM"},
		"RS256":            {[]string{"JWT_ALGORITHM=RS256"}, "JWT_ALGORITHM"},
		"all right":        {[]string{"ENVIRONMENT=production", "JWT_SECRET_KEY=" + long, "SECRET_KEY=" + other, "AUTH_USERS_FILE=" + users, redis}, ""},
		"development, any": {[]string{"JWT_SECRET_KEY=short", "SECRET_KEY=short"}, ""},
	} {
		_, report, err := config.Load(config.Sources{Environ: c.env})
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(report.String(), "aaaa") || err != nil && strings.Contains(err.Error(), "aaaa") {
			t.Errorf("%s: the key is shown", name)
		}
	}
	var faults *config.Error
	if _, err := New(config.Config{}, WithLogOutput(io.Discard), WithUsers(&auth.UsersFile{})); !errors.As(err, &faults) {
		t.Errorf("an application's users without a key: %v", err)
	}
}
