package server

import (
	"context"
	"log/slog"
)

// logHandler adds to each line which part of the service says it and which request it belongs to, as the context has it,
// and passes errors on to whoever collects them.
type logHandler struct {
	slog.Handler
	name   string
	report *errorReport
}

// errorReport is told of lines at the level of errors, once there is somebody to be told.
type errorReport struct {
	tell func(ctx context.Context, name, message, cause, requestID string)
}

// Handle writes a line.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.report.tell != nil && r.Level >= slog.LevelError {
		cause, id := "", RequestID(ctx)
		r.Attrs(func(a slog.Attr) bool {
			switch a.Key {
			case "error", "detail":
				cause = a.Value.String()
			case "request_id":
				id = a.Value.String()
			}
			return true
		})
		h.report.tell(ctx, h.name, r.Message, cause, id)
	}
	out := r.Clone()
	if h.name != "" {
		out.AddAttrs(slog.String("logger", h.name))
	}
	if c, ok := ctx.Value(requestContextKey{}).(*requestContext); ok {
		out.AddAttrs(slog.String("request_id", c.id[0]))
		if c.traceID != "" {
			out.AddAttrs(slog.String("trace_id", c.traceID))
		}
	}
	return h.Handler.Handle(ctx, out)
}

// WithAttrs keeps the name of the part apart: the last one given holds.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	rest := make([]slog.Attr, 0, len(attrs))
	for _, a := range attrs {
		if a.Key == "logger" {
			next.name = a.Value.String()
		} else {
			rest = append(rest, a)
		}
	}
	if len(rest) > 0 {
		next.Handler = h.Handler.WithAttrs(rest)
	}
	return &next
}

// WithGroup begins a group; who says it stays outside.
func (h *logHandler) WithGroup(group string) slog.Handler {
	next := *h
	if h.name != "" {
		next.Handler, next.name = h.Handler.WithAttrs([]slog.Attr{slog.String("logger", h.name)}), ""
	}
	next.Handler = next.Handler.WithGroup(group)
	return &next
}
