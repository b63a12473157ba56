package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/covetpy/covet/server/config"
)

func TestExternalServicesDecideReadiness(t *testing.T) {
	t.Parallel()
	var status atomic.Int32
	status.Store(200)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			return
		}
		w.WriteHeader(int(status.Load()))
	}))
	defer other.Close()
	load := func(env ...string) *served {
		cfg, _, err := config.Load(config.Sources{Environ: append(env, "HEALTH_SERVICE_TIMEOUT=200ms")})
		if err != nil {
			t.Fatal(err)
		}
		return serveStack(t, cfg, nil)
	}
	ready := func(s *served) (int, HealthReport) {
		resp, body := s.do(t, http.MethodGet, "/health/ready", nil)
		var report HealthReport
		if err := json.Unmarshal([]byte(body), &report); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, report
	}
	s := load("HEALTH_REQUIRED_SERVICES=pay="+other.URL+"/health", "HEALTH_OPTIONAL_SERVICES=mail="+other.URL+"/slow stock="+other.URL+"/slow?a=b")
	begun := time.Now()
	code, report := ready(s)
	if code != http.StatusOK || report.Status != Degraded || report.Checks["pay"].Status != Healthy || report.Checks["pay"].LatencyMS <= 0 ||
		!strings.Contains(report.Checks["mail"].Error, "200ms") || report.Checks["stock"].Status != Unhealthy {
		t.Errorf("%d %+v", code, report)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("took %v, one after the other?", took)
	}
	status.Store(503)
	if code, report := ready(s); code != http.StatusOK {
		t.Errorf("not cached: %d %+v", code, report)
	}
	if code, report := ready(load("HEALTH_REQUIRED_SERVICES=pay=" + other.URL)); code != http.StatusServiceUnavailable || !strings.Contains(report.Checks["pay"].Error, "503") {
		t.Errorf("%d %+v", code, report)
	}
	if code, report := ready(load("HEALTH_OPTIONAL_SERVICES=pay=http://127.0.0.1:1/")); code != http.StatusOK || report.Status != Degraded {
		t.Errorf("%d %+v", code, report)
	}
}

func TestExternalSettingsFaults(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"HEALTH_REQUIRED_SERVICES=pay", "HEALTH_REQUIRED_SERVICES=pay=ftp://x", "HEALTH_OPTIONAL_SERVICES=mail=http://u:p@x/", "HEALTH_OPTIONAL_SERVICES=mail=/health"} {
		if _, _, err := config.Load(config.Sources{Environ: []string{bad}}); err == nil {
			t.Errorf("%s passes", bad)
		}
	}
}
