package s3_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/internal/s3"
	"github.com/covetpy/covet/ops/backup"
	"github.com/covetpy/covet/ops/backup/storetest"
	s3test "github.com/covetpy/covet/test/s3"
)

func open(t *testing.T, o s3.Options) *s3.Store {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", s3test.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3test.SecretKey)
	s, err := s3.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStoreConforms(t *testing.T) {
	srv := s3test.Start(t)
	storetest.Run(t, func(t *testing.T) backup.Store {
		return open(t, s3.Options{Endpoint: srv.Endpoint, Bucket: srv.Bucket(t), Prefix: "some/prefix"})
	})
}

// AWS takes nothing without a checksum into a bucket with object lock.
func TestStoreGivesTheDigestThatIsDemanded(t *testing.T) {
	srv := s3test.Start(t)
	proxy := s3test.StartProxy(t, srv, func(_ int64, r *http.Request) s3test.Fault {
		if r.Method == http.MethodPut && r.Header.Get("Content-MD5") == "" {
			return s3test.WantsMD5
		}
		return s3test.Pass
	})
	s := open(t, s3.Options{Endpoint: proxy.Endpoint, Bucket: srv.Bucket(t)})
	for i, size := range []int{0, 100, 12 << 20} {
		data := bytes.Repeat([]byte{byte(i), 7}, size/2)
		key := fmt.Sprint("object-", i)
		if err := s.Put(t.Context(), key, bytes.NewReader(data), backup.PutOptions{IfAbsent: true}); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		got, err := backup.ReadAll(t.Context(), s, key, 16<<20)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %d came back, %v", size, len(got), err)
		}
	}
	if n := proxy.Faults(); n != 1 {
		t.Errorf("refused %d times: it should learn from the first", n)
	}
}

// Every kind of fault, on every third request: everything that was said to be stored is, exactly once.
func TestStoreSurvivesFaults(t *testing.T) {
	srv := s3test.Start(t)
	kinds := []s3test.Fault{s3test.Fail500, s3test.Fail503, s3test.Reset, s3test.Lose, s3test.Truncate}
	proxy := s3test.StartProxy(t, srv, func(n int64, _ *http.Request) s3test.Fault {
		if n%3 == 1 {
			return kinds[int(n/3)%len(kinds)]
		}
		return s3test.Pass
	})
	s := open(t, s3.Options{Endpoint: proxy.Endpoint, Bucket: srv.Bucket(t)})
	src := rand.NewChaCha8([32]byte{1})
	for i := range 12 {
		data := make([]byte, 1000+i*3_000_000)
		_, _ = src.Read(data)
		key := fmt.Sprintf("o/%d", i)
		if err := s.Put(t.Context(), key, bytes.NewReader(data), backup.PutOptions{IfAbsent: true}); err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
		r, err := s.Get(t.Context(), key, 0, -1)
		if err != nil {
			t.Fatalf("get %d: %v", i, err)
		}
		got, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("object %d of %d bytes came back as %d: %v", i, len(data), len(got), err)
		}
	}
	if proxy.Faults() < 10 {
		t.Errorf("only %d faults: the test tested nothing", proxy.Faults())
	}
}

func TestStoreExplainsRefusals(t *testing.T) {
	srv := s3test.Start(t)
	s := open(t, s3.Options{Endpoint: srv.Endpoint, Bucket: "no-such-bucket"})
	err := s.Put(t.Context(), "k", strings.NewReader("v"), backup.PutOptions{})
	if err == nil || errors.Is(err, backup.ErrNotFound) || !strings.Contains(err.Error(), "bucket does not exist") {
		t.Errorf("put to a missing bucket: %v", err)
	}
	if _, err := s.Get(t.Context(), "k", 0, -1); errors.Is(err, backup.ErrNotFound) {
		t.Errorf("a missing bucket looks like a missing object: %v", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	s, err = s3.Open(t.Context(), s3.Options{Endpoint: srv.Endpoint, Bucket: srv.Bucket(t)})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Put(t.Context(), "k", strings.NewReader("v"), backup.PutOptions{})
	if err == nil || !strings.Contains(err.Error(), "AWS_SECRET_ACCESS_KEY") {
		t.Errorf("put with a wrong secret: %v", err)
	}
}

func TestOptionsValidate(t *testing.T) {
	t.Parallel()
	for _, o := range []s3.Options{{}, {Bucket: "b", Endpoint: "localhost:9000"}, {Bucket: "b", Endpoint: "ftp://x"}, {Bucket: "b", SSE: "rot13"}} {
		if o.Validate() == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	for _, o := range []s3.Options{{Bucket: "b"}, {Bucket: "b", Endpoint: "http://localhost:9000", SSE: "AES256"}} {
		if err := o.Validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// Over TLS bodies go up unsigned; an authority that isn't known is named at once, and trusted when it is told.
func TestStoreOverTLS(t *testing.T) {
	srv := s3test.Start(t)
	target, err := url.Parse(srv.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }})
	t.Cleanup(front.Close)
	front.Config.ErrorLog = log.New(io.Discard, "", 0)
	o := s3.Options{Endpoint: front.URL, Bucket: srv.Bucket(t)}
	began := time.Now()
	err = open(t, o).Put(t.Context(), "k", strings.NewReader("v"), backup.PutOptions{})
	if err == nil || !strings.Contains(err.Error(), "COVET_S3_CA_FILE") || time.Since(began) > 2*time.Second {
		t.Errorf("an unknown authority: %v, after %s", err, time.Since(began))
	}
	o.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
	if err := os.WriteFile(o.CAFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, o)
	for _, n := range []int{100, 20 << 20} {
		data := bytes.Repeat([]byte("x"), n)
		if err := s.Put(t.Context(), fmt.Sprint(n), bytes.NewReader(data), backup.PutOptions{IfAbsent: true}); err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		got, err := backup.ReadAll(t.Context(), s, fmt.Sprint(n), 1<<30)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back as %d: %v", n, len(got), err)
		}
	}
	o.CAFile = filepath.Join(t.TempDir(), "missing.pem")
	if _, err := s3.Open(t.Context(), o); err == nil {
		t.Error("a missing CA file is accepted")
	}
}
