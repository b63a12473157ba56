package server

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"os"
	"strings"

	"github.com/covetpy/covet/server/auth"
)

// pages are the runtime's own routes for tokens, none where it does not issue them. Unlike the health pages they pass all
// of the stack.
func (i *identity) pages() map[string]http.HandlerFunc {
	if i == nil || i.users == nil {
		return nil
	}
	return map[string]http.HandlerFunc{
		"/auth/token":   postOnly(i.login),
		"/auth/refresh": postOnly(i.refresh),
		"/auth/revoke":  postOnly(i.revoke),
	}
}

func postOnly(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			methodNotAllowed(w, r)
			return
		}
		h(w, r)
	}
}

// maxLoginBody is the largest body of these routes.
const maxLoginBody = 32 << 10

// fields reads a body, JSON or a form, that has all of the names.
func fields(w http.ResponseWriter, r *http.Request, names ...string) (map[string]string, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxLoginBody)
	got, err := readFields(r)
	if err == nil {
		for _, name := range names {
			if got[name] == "" {
				err = errors.New("the body lacks " + name)
			}
		}
	}
	if err == nil {
		return got, true
	}
	status := http.StatusBadRequest
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		status = http.StatusRequestEntityTooLarge
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		status, err = http.StatusRequestTimeout, errors.New("the body did not arrive in time")
	}
	writeProblem(w, r, status, err.Error())
	return nil, false
}

func readFields(r *http.Request) (map[string]string, error) {
	got := map[string]string{}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err != nil || (kind != "application/json" && kind != "application/x-www-form-urlencoded"):
		return nil, errors.New("the body must be application/json or application/x-www-form-urlencoded")
	case kind == "application/json":
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) || errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, err
			}
			return nil, errors.New("the body is no JSON object of texts")
		}
		return got, nil
	}
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	for name, values := range r.PostForm {
		got[name] = values[0]
	}
	return got, nil
}

// login makes tokens for a name and a password.
func (i *identity) login(w http.ResponseWriter, r *http.Request) {
	if v := i.logins.Take(r.Context(), ClientIP(r.Context()), ""); !v.Allowed {
		w.Header()["Retry-After"] = []string{v.RetrySeconds()}
		writeProblem(w, r, http.StatusTooManyRequests, "too many logins; wait as long as Retry-After says")
		return
	}
	got, ok := fields(w, r, "username", "password")
	if !ok {
		return
	}
	u, err := i.users.Authenticate(r.Context(), got["username"], got["password"])
	if err == nil {
		var pair auth.Pair
		if pair, err = i.tokens.Issue(r.Context(), u); err == nil {
			writeOwnJSON(w, http.StatusOK, pair)
			return
		}
	}
	i.refuse(w, r, err)
}

// refresh makes the next tokens for a refresh token.
func (i *identity) refresh(w http.ResponseWriter, r *http.Request) {
	got, ok := fields(w, r, "refresh_token")
	if !ok {
		return
	}
	pair, err := i.tokens.Refresh(r.Context(), got["refresh_token"], i.users.Find)
	if err != nil {
		i.refuse(w, r, err)
		return
	}
	writeOwnJSON(w, http.StatusOK, pair)
}

// revoke ends all tokens of one's family (RFC 7009).
func (i *identity) revoke(w http.ResponseWriter, r *http.Request) {
	got, ok := fields(w, r, "token")
	if !ok {
		return
	}
	if err := i.tokens.Revoke(r.Context(), strings.TrimSpace(got["token"])); err != nil {
		i.refuse(w, r, err)
		return
	}
	writeOwnJSON(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"revoked"})
}

// refuse answers what could not be done: 503 where it may work later, 500 where something of ours is wrong, else 401.
func (i *identity) refuse(w http.ResponseWriter, r *http.Request, err error) {
	i.failed(err)
	switch {
	case errors.Is(err, auth.ErrUnavailable):
		w.Header().Set("Retry-After", "1")
		writeProblem(w, r, http.StatusServiceUnavailable, auth.ErrUnavailable.Error())
	case errors.Is(err, auth.ErrCredentials), errors.Is(err, auth.ErrToken), errors.Is(err, auth.ErrExpired),
		errors.Is(err, auth.ErrRevoked), errors.Is(err, auth.ErrReused):
		w.Header().Set("WWW-Authenticate", "Bearer")
		writeProblem(w, r, http.StatusUnauthorized, publicReason(err))
	default:
		writeProblem(w, r, http.StatusInternalServerError, "internal error")
	}
}
