package e2e

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// Everything that is wrong is said at once, before a port is opened or a file is made.
func TestTenFaultsAreToldAtOnceAndNothingIsOpened(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "LOG_LEVEL=loud", "LOG_FORMAT=xml", "DEBUG=perhaps", "APP_WORKERS=0", "APP_READY_PATH=ready", "APP_UPSTREAM=nowhere",
		"SHUTDOWN_TIMEOUT=soon", "MAX_BODY_BYTES=many", "TRUSTED_PROXIES=everyone", "PROMETHEUS_PORT=70000", "ENVIRONMENT=production")
	p.start()
	if code := p.awaitEnd(10 * time.Second); code != 2 {
		t.Errorf("covetd ended with %d, want 2", code)
	}
	said := p.log.String()
	for _, name := range []string{"LOG_LEVEL", "LOG_FORMAT", "DEBUG", "APP_WORKERS", "APP_READY_PATH", "APP_UPSTREAM",
		"SHUTDOWN_TIMEOUT", "MAX_BODY_BYTES", "TRUSTED_PROXIES", "PROMETHEUS_PORT"} {
		if !strings.Contains(said, name) {
			t.Errorf("%s is not named", name)
		}
	}
	if !strings.Contains(said, "10 faults") || strings.Contains(said, "listening") || strings.Count(said, "covetd:") != 1 {
		t.Errorf("want one message with ten faults:\n%s", said)
	}
	if files, err := os.ReadDir(p.dir); err != nil || len(files) > 0 {
		t.Errorf("covetd left %v in its data directory (%v)", files, err)
	}
}

// A second covetd in the same place says what is in its way, and disturbs nobody.
func TestASecondCovetdIsToldWhatIsInItsWay(t *testing.T) {
	t.Parallel()
	p := serving(t, 1)
	l := p.crowd()
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, p.dir + "/covetd.sock"},
		{[]string{"--set", "ADMIN_SOCKET=" + p.dir + "/second.sock"}, "another covetd runs with the data directory " + p.dir},
	} {
		sameData := placeAt(t, p.dir)
		sameData.start(c.args...)
		if code := sameData.awaitEnd(30 * time.Second); code != 1 {
			t.Errorf("on the same data directory covetd ended with %d, want 1", code)
		}
		if said := sameData.log.String(); !strings.Contains(said, c.says) {
			t.Errorf("want %q in what the second covetd says:\n%s", c.says, said)
		}
	}
	samePort := newPlace(t)
	samePort.addr = p.addr
	samePort.start()
	if code := samePort.awaitEnd(30 * time.Second); code != 1 {
		t.Errorf("on the same port covetd ended with %d, want 1", code)
	}
	_, port, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	if said := samePort.log.String(); !strings.Contains(said, port) || !strings.Contains(said, "in use") {
		t.Errorf("the port is not named:\n%s", said)
	}
	p.shop("v1.1.0", 1)
	p.must(0, "rollout", "start", "v1.1.0", "--strategy", "rolling", "--bake", "0s", "--watch")
	l.stop()
}
