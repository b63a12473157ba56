package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/covetpy/covet/server/config"
)

// sink takes what is sent to it, as Sentry or a collector does.
type sink struct {
	*httptest.Server
	mu    sync.Mutex
	paths []string
	got   [][]byte
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && r.Header.Get("Content-Encoding") == "gzip" {
			var z *gzip.Reader
			if z, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
				body, err = io.ReadAll(z)
			}
		}
		if err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.paths, s.got = append(s.paths, r.URL.Path+" "+r.Header.Get("X-Key")), append(s.got, body)
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *sink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(bytes.Join(s.got, []byte("\n")))
}

// dsn is that of a project of the sink's.
func (s *sink) dsn() config.Secret {
	return config.Secret(strings.Replace(s.URL, "http://", "http://publickey@", 1) + "/42")
}

func (s *sink) await(t *testing.T, text string) string {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if got := s.text(); strings.Contains(got, text) {
			return got
		}
	}
	t.Fatalf("never told of %s; told:\n%s", text, s.text())
	return ""
}

func TestSentryIsToldOfPanicsAndErrorsAndOfNobodysSecrets(t *testing.T) {
	t.Parallel()
	out := newSink(t)
	s := serveStack(t, config.Config{Version: "v1.2.3", Environment: "staging", Observe: config.ObserveConfig{SentryDSN: out.dsn(), SentryTracesRate: 1}}, func(s *Server) {
		s.Router().Post("/pay/{card}", func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.URL.Query().Get("mode") == "log" {
				s.Logger("payments").ErrorContext(r.Context(), "the payment failed", "error", errors.New("dial https://u:pa55@bank.example/x?key=k3y: refused"), "body", string(body))
				return
			}
			panic(fmt.Errorf("boom with %s and %s and %s", r.Header.Get("Authorization"), r.Header.Get("Cookie"), r.URL.RawQuery))
		})
	})
	secrets := []string{"s3cr3t-bearer-token", "c00kie-value", "qu3ry-value", "b0dy-value", "4111111111111111", "ann@shop.example", "pa55", "k3y", "203.0.113.99"}
	send := func(query string) *http.Response {
		resp, _ := s.do(t, http.MethodPost, "/pay/4111111111111111?q=qu3ry-value&mail=ann@shop.example&"+query, strings.NewReader("b0dy-value"),
			"Authorization", "Bearer s3cr3t-bearer-token", "Cookie", "session=c00kie-value", "X-Forwarded-For", "203.0.113.99", "User-Agent", "spy")
		return resp
	}
	resp := send("mode=panic")
	send("mode=log")
	got := out.await(t, "the payment failed")
	got = out.await(t, `"transaction"`) + got
	if resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("answered %d", resp.StatusCode)
	}
	for _, want := range []string{"boom with", resp.Header.Get("X-Request-Id"), "v1.2.3", "staging", "POST /pay/{card}", "observe_test.go", "payments", "refused"} {
		if !strings.Contains(got, want) {
			t.Errorf("not told of %s", want)
		}
	}
	for _, secret := range secrets {
		if strings.Contains(got, secret) {
			at := strings.Index(got, secret)
			t.Errorf("%s left the process: …%s…", secret, got[max(0, at-60):at+60])
		}
	}
}

// A Sentry that takes connections and never answers costs no request anything, nor a stop more than its share.
func TestADeadSentryAndCollectorSlowNothing(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	dead := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer dead.Close()
	defer close(hang)
	s, err := New(config.Config{Listen: "127.0.0.1:0", DataDir: t.TempDir(), Observe: config.ObserveConfig{TracesEndpoint: dead.URL + "/v1/traces", SentryTracesRate: 1,
		SentryDSN: config.Secret(strings.Replace(dead.URL, "http://", "http://k@", 1) + "/1")}}, WithLogOutput(&logBuffer{}))
	if err != nil {
		t.Fatal(err)
	}
	s.Router().Get("/panic", func(http.ResponseWriter, *http.Request) { panic("again") })
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for s.Addr() == nil {
		time.Sleep(time.Millisecond)
	}
	begun := time.Now()
	for range 500 {
		resp, err := http.Get("http://" + s.Addr().String() + "/panic")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("500 requests took %v", took)
	}
	stop()
	begun = time.Now()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("the stop took %v", took)
	}
}

// What has not been sent when the service is told to stop is sent then.
func TestObserversAreToldBeforeTheEnd(t *testing.T) {
	t.Parallel()
	sentrySink, collector := newSink(t), newSink(t)
	s := startService(t, "SENTRY_DSN="+sentrySink.dsn().Reveal(), "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "SENTRY_TRACES_SAMPLE_RATE=1")
	s.awaitLog(`"message":"ready"`)
	if _, err := s.get("/pid"); err != nil {
		t.Fatal(err)
	}
	s.signal(15)
	if code := s.exitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if got := sentrySink.text(); !strings.Contains(got, "GET /pid") {
		t.Errorf("Sentry was told %q", got)
	}
	if spans := collector.spans(t); len(spans) != 1 || spans[0].Name != "GET /pid" {
		t.Errorf("the collector got %v", spans)
	}
}

// spans are those that the collector got.
func (s *sink) spans(t *testing.T) (out []*tracepb.Span) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, body := range s.got {
		var req coltrace.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &req); err != nil {
			t.Fatal(err)
		}
		for _, r := range req.ResourceSpans {
			for _, sc := range r.ScopeSpans {
				out = append(out, sc.Spans...)
			}
		}
	}
	return out
}

func TestTracesGoOnFromTheCallerToWhatIsBehind(t *testing.T) {
	t.Parallel()
	collector := newSink(t)
	var behind string
	s := serveStack(t, config.Config{Observe: config.ObserveConfig{TracesEndpoint: collector.URL + "/v1/traces", TracesHeaders: map[string]config.Secret{"X-Key": "k1"}}}, func(s *Server) {
		s.Router().Get("/orders/{id}", func(w http.ResponseWriter, r *http.Request) {
			behind = r.Header.Get("Traceparent") + " " + TraceID(r.Context())
			s.Logger("orders").InfoContext(r.Context(), "looked up")
			w.WriteHeader(http.StatusBadGateway)
		})
	})
	s.do(t, http.MethodGet, "/orders/7?secret=1", nil, "Traceparent", someTrace)
	s.do(t, http.MethodGet, "/orders/8", nil, "Traceparent", someTrace[:53]+"00") // its caller does not want it taken
	s.do(t, http.MethodGet, "/health", nil)
	if err := s.tracer.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	spans := collector.spans(t)
	if len(spans) != 1 {
		t.Fatalf("%d spans: %v", len(spans), spans)
	}
	span := spans[0]
	trace, id := fmt.Sprintf("%x", span.TraceId), fmt.Sprintf("%x", span.SpanId)
	if trace != "0af7651916cd43dd8448eb211c80319c" || fmt.Sprintf("%x", span.ParentSpanId) != "b7ad6b7169203331" || span.Name != "GET /orders/{id}" || span.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("%v", span)
	}
	if !strings.HasPrefix(behind, "00-"+trace) || strings.Contains(behind, "b7ad6b7169203331") || !strings.HasSuffix(behind, trace) {
		t.Errorf("what is behind was told %s (span %s)", behind, id)
	}
	if strings.Contains(fmt.Sprint(span), "secret") {
		t.Errorf("the query is in %v", span)
	}
	for _, path := range collector.paths {
		if path != "/v1/traces k1" {
			t.Errorf("posted to %s", path)
		}
	}
	for _, line := range s.lines(t) {
		if line["logger"] != "server" && line["trace_id"] != trace {
			t.Errorf("no trace in %v", line)
		}
	}
}

func TestLinesNameTheirRequestOnce(t *testing.T) {
	t.Parallel()
	s := serveStack(t, config.Config{}, func(s *Server) {
		log := s.Logger("shop").With("logger", "orders")
		s.Router().Get("/", func(_ http.ResponseWriter, r *http.Request) {
			log.WithGroup("order").InfoContext(r.Context(), "sold", "id", 7)
			log.InfoContext(r.Context(), "sold")
		})
	})
	resp, _ := s.do(t, http.MethodGet, "/", nil)
	id := resp.Header.Get("X-Request-Id")
	lines := s.lines(t)
	if len(lines) != 3 {
		t.Fatalf("%v", lines)
	}
	for _, line := range lines[1:] {
		if line["request_id"] != id || line["trace_id"] != id {
			t.Errorf("%v of request %s", line, id)
		}
	}
	if raw := s.log.String(); strings.Count(strings.SplitN(raw, "\n", 2)[0], `"logger"`) != 1 || lines[0]["logger"] != "orders" {
		t.Errorf("%s", raw)
	}
}
