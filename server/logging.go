package server

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/covetpy/covet/server/config"
)

// logging is the service's logger and the access log beside it, on one sink.
type logging struct {
	sink   *logSink
	root   *slog.Logger
	report *errorReport
	// unreported writes as the server does, of what is told to others in another way.
	unreported *slog.Logger
	level      slog.Level
	encode     func(buf []byte, a *access, s *stamp) []byte
}

// newLogging opens the log that cfg asks for. out replaces standard error, for tests and embedding.
func newLogging(cfg config.Config, out io.Writer) (*logging, error) {
	if out == nil {
		out = os.Stderr
	}
	if cfg.LogFile != "" {
		f, err := openLogFile(cfg.LogFile)
		if err != nil {
			return nil, err
		}
		out = f
	}
	l := &logging{sink: newLogSink(out), level: cfg.LogLevel}
	options := &slog.HandlerOptions{Level: cfg.LogLevel, ReplaceAttr: frameworkNames}
	var base slog.Handler
	if textFormat(cfg, out) {
		base = slog.NewTextHandler(l.sink, options)
		l.encode = appendAccessText
	} else {
		base = slog.NewJSONHandler(l.sink, options)
		l.encode = appendAccessJSON
	}
	l.report = &errorReport{}
	l.root = slog.New(&logHandler{Handler: base, report: l.report})
	l.unreported = slog.New(&logHandler{Handler: base, report: &errorReport{}, name: "server"})
	return l, nil
}

// logger returns the logger of a part of the service.
func (l *logging) logger(name string) *slog.Logger { return l.root.With("logger", name) }

// request logs a finished request. The runtime's own pages are polled all day, so they are logged only when they fail
// or when everything is.
func (l *logging) request(a *access) {
	if a.own && a.status < 400 && l.level > slog.LevelDebug {
		return
	}
	if a.level() >= l.level {
		l.sink.access(a, l.encode)
	}
}

// frameworkNames renames slog's keys to the ones the framework's log shippers know, and writes spans of time as text.
func frameworkNames(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 {
		switch a.Key {
		case slog.TimeKey:
			a.Key = "timestamp"
			a.Value = slog.StringValue(a.Value.Time().Format(stampFormat))
			return a
		case slog.MessageKey:
			a.Key = "message"
			return a
		}
	}
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

func textFormat(cfg config.Config, out io.Writer) bool {
	switch cfg.LogFormat {
	case "text":
		return true
	case "json":
		return false
	}
	f, isFile := out.(*os.File)
	if !isFile || cfg.Environment != config.Development {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// httpErrors receives what net/http says about connections: a client that hangs up is no error of the service, a panic
// is.
type httpErrors struct{ log *slog.Logger }

func (h httpErrors) Write(p []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.Contains(p, []byte("panic serving")) {
		level = slog.LevelError
	}
	h.log.Log(context.Background(), level, "connection", "detail", string(bytes.TrimSpace(p)))
	return len(p), nil
}
