// Package deploy_test keeps the configuration of other programs in this folder true, by running those programs.
package deploy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// program is a program that the tests' set-up installs.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	missing := name + " is not installed: scripts/setup installs it"
	if os.Getenv("COVET_TEST_ALLOW_SKIP") == "1" {
		t.Skip(missing)
	}
	t.Fatal(missing)
	return ""
}

func TestPrometheusTakesItsConfiguration(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(program(t, "promtool"), "check", "config", "prometheus/prometheus.yml").CombinedOutput()
	if err != nil {
		t.Errorf("promtool check config: %v\n%s", err, out)
	}
}

// Every metric of the rules is one that covetd has.
func TestRulesAskForMetricsThatThereAre(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile("prometheus/covet.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	for _, pattern := range []string{"../server/*.go", "../internal/prom/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(text)
		}
	}
	for _, name := range regexp.MustCompile(`covetpy_[a-z_]+`).FindAllString(string(rules), -1) {
		short := strings.TrimPrefix(name, "covetpy_")
		if !strings.Contains(sources.String(), `"`+name+`"`) && !strings.Contains(sources.String(), `"`+short+`"`) {
			t.Errorf("the rules ask for %s, which nothing writes", name)
		}
	}
}

// nginx passes on who asks, the host, the scheme and upgrades, and keeps the metrics inside.
func TestNginxPassesOnWhatCovetdNeeds(t *testing.T) {
	t.Parallel()
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s|%s|%s|%s|%s", r.Host, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-For"), r.Header.Get("Connection"), r.Header.Get("Upgrade"))
	}))
	defer behind.Close()
	client, url := nginx(t, strings.TrimPrefix(behind.URL, "http://"))
	for _, c := range []struct{ path, upgrade, want string }{
		{"/", "", "shop.example.com|https|127.0.0.1||"},
		{"/ws/feed", "websocket", "shop.example.com|https|127.0.0.1|upgrade|websocket"},
		{"/metrics", "", "404"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "shop.example.com"
		if c.upgrade != "" {
			req.Header.Set("Connection", "upgrade")
			req.Header.Set("Upgrade", c.upgrade)
		}
		got := ask(t, client, req)
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.path, got, c.want)
		}
	}
}

// ask waits until nginx takes connections.
func ask(t *testing.T, client *http.Client, req *http.Request) string {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var resp *http.Response
		if resp, err = client.Do(req); err != nil {
			continue
		}
		body, rerr := io.ReadAll(resp.Body)
		if cerr := resp.Body.Close(); rerr != nil || cerr != nil {
			t.Fatal(rerr, cerr)
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Sprint(resp.StatusCode)
		}
		return string(body)
	}
	t.Fatalf("nginx did not answer within 20 s: %v", err)
	return ""
}

// nginx runs nginx with the project's configuration, on a free port and with a certificate of the test's.
func nginx(t *testing.T, upstream string) (*http.Client, string) {
	t.Helper()
	text, err := os.ReadFile("nginx/shop.conf")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pool := certificate(t, dir)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	site := strings.NewReplacer("listen 443 ssl", "listen "+address+" ssl", "127.0.0.1:8000", upstream,
		"/etc/ssl/certs/shop.example.com.pem", dir+"/cert.pem", "/etc/ssl/private/shop.example.com.key", dir+"/key.pem").Replace(string(text))
	main := fmt.Sprintf("daemon off;\nmaster_process off;\npid %[1]s/pid;\nerror_log %[1]s/error.log;\nevents {}\nhttp {\naccess_log off;\n"+
		"client_body_temp_path %[1]s/body;\nproxy_temp_path %[1]s/proxy;\nfastcgi_temp_path %[1]s/f;\nuwsgi_temp_path %[1]s/u;\nscgi_temp_path %[1]s/s;\n%[2]s\n}\n", dir, site)
	if err := os.WriteFile(dir+"/nginx.conf", []byte(main), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program(t, "nginx"), "-c", dir+"/nginx.conf", "-e", dir+"/error.log")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the test's context may have done it
		_ = cmd.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(dir + "/error.log")
			t.Logf("nginx said: %s", said)
		}
	})
	return &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "shop.example.com"}}}, "https://" + address
}

func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"shop.example.com"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, b := range map[string][]byte{"cert.pem": public, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(public)
	return pool
}
