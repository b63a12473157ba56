package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"time"
)

const (
	maxBody      = 1 << 20          // of a command
	bodyTimeout  = 10 * time.Second // for a command's body to arrive
	writeTimeout = 10 * time.Second // for one answer, or one line of a stream, to be taken
	heartbeat    = 3 * time.Second  // between lines of a stream that has nothing to say
	opening      = 50 * time.Millisecond
)

var opForm = regexp.MustCompile(`^[a-z][a-z.-]{0,63}$`)

type handler struct {
	backend Backend
	peer    func(context.Context) (Identity, bool)
	log     *slog.Logger
	times   times
}

// times are the handler's limits on a peer; see the constants.
type times struct{ body, write, heartbeat, opening time.Duration }

// New makes the API's handler. peer tells from a request's context who asks; whom it does not know is refused. The server
// around it must have no WriteTimeout of its own, or streams would be cut.
func New(b Backend, peer func(context.Context) (Identity, bool), log *slog.Logger) http.Handler {
	return newHandler(b, peer, log, times{bodyTimeout, writeTimeout, heartbeat, opening})
}

func newHandler(b Backend, peer func(context.Context) (Identity, bool), log *slog.Logger, t times) http.Handler {
	h := &handler{backend: b, peer: peer, log: log, times: t}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/watch", h.guard(h.watch, http.MethodGet))
	mux.HandleFunc("/v1/logs", h.guard(h.logs, http.MethodGet))
	mux.HandleFunc("/v1/{op}", h.guard(h.operation, http.MethodGet, http.MethodPost))
	mux.HandleFunc("/", h.guard(func(w http.ResponseWriter, r *http.Request, _ Identity) {
		h.fail(w, r, refuse(http.StatusNotFound, "not_found", "there is nothing at %s: the operations API is at /v1/{op}", r.URL.Path))
	}, http.MethodGet, http.MethodPost))
	return mux
}

// guard lets through only identified peers that are no browsers, and the given methods.
func (h *handler) guard(next func(http.ResponseWriter, *http.Request, Identity), methods ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer h.recovered(w, r)
		who, ok := h.peer(r.Context())
		if !ok {
			h.log.WarnContext(r.Context(), "operations API: refused a peer that could not be identified", "path", r.URL.Path)
			h.fail(w, r, refuse(http.StatusForbidden, "denied", "covetd could not tell who is asking: connect over its unix socket"))
			return
		}
		if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
			h.fail(w, r, refuse(http.StatusForbidden, "denied", "requests made by a web page are not served"))
			return
		}
		for _, m := range methods {
			if r.Method == m {
				next(w, r, who)
				return
			}
			w.Header().Add("Allow", m)
		}
		h.fail(w, r, refuse(http.StatusMethodNotAllowed, "usage", "%s is not served at %s", r.Method, r.URL.Path))
	}
}

func (h *handler) recovered(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	h.log.ErrorContext(r.Context(), "operations API: a request crashed", "path", r.URL.Path, "panic", v, "stack", string(debug.Stack()))
	h.fail(w, r, crashed())
}

func (h *handler) operation(w http.ResponseWriter, r *http.Request, who Identity) {
	op := r.PathValue("op")
	if !opForm.MatchString(op) {
		h.fail(w, r, refuse(http.StatusNotFound, "not_found", "%.64q is not the name of an operation", op))
		return
	}
	answer, err := h.dispatch(w, r, who, op)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.answer(w, r, http.StatusOK, answer)
}

func (h *handler) dispatch(w http.ResponseWriter, r *http.Request, who Identity, op string) (any, error) {
	if r.Method == http.MethodGet {
		return h.backend.Ask(r.Context(), who, op, r.URL.Query())
	}
	body, err := h.body(w, r)
	if err != nil {
		return nil, err
	}
	return h.backend.Do(r.Context(), who, op, body)
}

// body reads a command's JSON document. A command without arguments has an empty body, which stands for {}.
func (h *handler) body(w http.ResponseWriter, r *http.Request) (json.RawMessage, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, refuse(http.StatusUnsupportedMediaType, "usage", "a command's body must be application/json")
	}
	raw, err := h.read(w, r)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, refuse(http.StatusRequestEntityTooLarge, "usage", "the request is larger than %d bytes", maxBody)
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "usage", "the request did not arrive whole: %v", err)
	case len(raw) == 0:
		return json.RawMessage("{}"), nil
	case !json.Valid(raw):
		return nil, refuse(http.StatusBadRequest, "usage", "the request is not a JSON document")
	}
	return raw, nil
}

// read takes the request's body within the deadline, and lifts it after: net/http goes on reading to notice a peer that
// leaves, and would take the passing of the deadline for that.
func (h *handler) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	if err := deadline(control.SetReadDeadline, time.Now().Add(h.times.body)); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, err
	}
	return raw, deadline(control.SetReadDeadline, time.Time{})
}

func (h *handler) watch(w http.ResponseWriter, r *http.Request, who Identity) {
	var after uint64
	if s := r.URL.Query().Get("after"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			h.fail(w, r, refuse(http.StatusBadRequest, "usage", "after=%.32s: give the number of the last event seen, for example after=41", s))
			return
		}
		after = n
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	h.stream(ctx, cancel, w, r, h.backend.Watch(ctx, who, after))
}

func (h *handler) logs(w http.ResponseWriter, r *http.Request, who Identity) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	h.stream(ctx, cancel, w, r, h.backend.Logs(ctx, who, r.URL.Query()))
}

// answer writes one JSON document.
func (h *handler) answer(w http.ResponseWriter, r *http.Request, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		h.fail(w, r, fmt.Errorf("write the answer as JSON: %w", err))
		return
	}
	if err := deadline(http.NewResponseController(w).SetWriteDeadline, time.Now().Add(h.times.write)); err != nil {
		h.log.WarnContext(r.Context(), "operations API: no write deadline", "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if _, err := w.Write(append(raw, '\n')); err != nil {
		h.log.DebugContext(r.Context(), "operations API: the peer went away", "path", r.URL.Path, "error", err)
	}
}

func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	told := tell(err)
	h.answer(w, r, told.HTTPStatus(), told)
}

// deadline sets one of a connection's deadlines, where it has them.
func deadline(set func(time.Time) error, at time.Time) error {
	if err := set(at); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("set a deadline on the connection: %w", err)
	}
	return nil
}
