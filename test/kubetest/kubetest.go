package kubetest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var shared = sync.OnceValues(func() (*Cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 18*time.Minute)
	defer cancel()
	return Open(ctx, Options{})
})

// Shared is the cluster of this test process, with four simulated nodes; each test takes a namespace of it.
func Shared(tb testing.TB) *Cluster {
	tb.Helper()
	c, err := shared()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Start runs a cluster of the test's own, for what would disturb others.
func Start(tb testing.TB, o Options) *Cluster {
	tb.Helper()
	c, err := Open(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Errorf("end the cluster: %v", err)
		}
	})
	return c
}

// Namespace makes a namespace that is deleted after the test, and returns its name and a kubeconfig whose current one it is.
func (c *Cluster) Namespace(tb testing.TB) (name, kubeconfig string) {
	tb.Helper()
	made, err := c.Do(tb.Context(), http.MethodPost, "/api/v1/namespaces", `{"metadata":{"generateName":"t-"}}`)
	if err != nil {
		tb.Fatal(err)
	}
	var n struct {
		Metadata struct{ Name string }
	}
	if err := json.Unmarshal(made, &n); err != nil {
		tb.Fatal(err)
	}
	name = n.Metadata.Name
	tb.Cleanup(func() {
		if _, err := c.Do(context.Background(), http.MethodDelete, "/api/v1/namespaces/"+name, ""); err != nil {
			tb.Logf("delete the namespace %s: %v", name, err)
		}
	})
	c.awaitAccount(tb, name)
	return name, c.KubeconfigIn(tb, name)
}

// awaitAccount returns when pods can be made in a new namespace.
func (c *Cluster) awaitAccount(tb testing.TB, namespace string) {
	tb.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err = c.Do(tb.Context(), http.MethodGet, "/api/v1/namespaces/"+namespace+"/serviceaccounts/default", ""); err == nil {
			return
		}
	}
	tb.Fatalf("the namespace %s has no service account after a minute: %v", namespace, err)
}

// KubeconfigIn writes a kubeconfig of the administrator whose current namespace is the one given.
func (c *Cluster) KubeconfigIn(tb testing.TB, namespace string) string {
	tb.Helper()
	text, err := os.ReadFile(c.Kubeconfig)
	if err != nil {
		tb.Fatal(err)
	}
	const context = "cluster: covet-kube, user: covet-kube"
	changed := strings.Replace(string(text), context, context+", namespace: "+namespace, 1)
	path := filepath.Join(tb.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// WaitReady returns when the API server says that it is ready, as after a restart.
func (c *Cluster) WaitReady(tb testing.TB) {
	tb.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err = c.Do(tb.Context(), http.MethodGet, "/readyz", ""); err == nil {
			return
		}
	}
	tb.Fatalf("the API server is not ready after a minute: %v", err)
}

// Do asks the API server as its administrator, with JSON, and returns what it answers. A status over 299 is an error.
func (c *Cluster) Do(ctx context.Context, method, path, body string) ([]byte, error) {
	return c.DoAs(ctx, "application/json", method, path, body)
}

// DoAs is Do with a body of another media type, such as a patch's.
func (c *Cluster) DoAs(ctx context.Context, mediaType, method, path, body string) ([]byte, error) {
	answer, _, err := c.Ask(ctx, mediaType, method, path, body)
	return answer, err
}

// Ask is DoAs that answers the warnings of the API server too.
func (c *Cluster) Ask(ctx context.Context, mediaType, method, path, body string) (answer []byte, warnings []string, err error) {
	client, err := c.client()
	if err != nil {
		return nil, nil, err
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, c.Server+path, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		return nil, nil, err
	}
	if resp.StatusCode > 299 {
		return nil, nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return answer, resp.Header.Values("Warning"), nil
}

func (c *Cluster) client() (*http.Client, error) {
	conf, err := c.AdminTLS()
	if err != nil {
		return nil, err
	}
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: conf}}, nil
}

// AdminTLS is how an administrator connects to the API server.
func (c *Cluster) AdminTLS() (*tls.Config, error) {
	pki := filepath.Join(c.Dir, "pki")
	ca, err := os.ReadFile(filepath.Join(pki, "ca.crt"))
	if err != nil {
		return nil, err
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(pki, "admin.crt"), filepath.Join(pki, "admin.key"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}, nil
}
