package sentry

import (
	"encoding/json"
	"strings"
	"testing"

	sdk "github.com/getsentry/sentry-go"
)

// Whatever the library or an application puts into an event, only what is listed leaves.
func TestOnlyWhatIsListedLeaves(t *testing.T) {
	t.Parallel()
	e := sdk.NewEvent()
	e.Message, e.Release, e.Logger, e.Transaction = "kept-message", "kept-release", "kept-logger", "GET /kept"
	e.Tags = map[string]string{"request_id": "kept-id", "customer": "leak"}
	e.Request = &sdk.Request{URL: "leak", QueryString: "leak", Cookies: "leak", Data: "leak", Headers: map[string]string{"Authorization": "leak"}, Env: map[string]string{"A": "leak"}}
	e.User = sdk.User{ID: "leak", Email: "leak", IPAddress: "leak"}
	e.Modules = map[string]string{"leak": "leak"}
	e.Contexts["device"] = sdk.Context{"x": "leak"}
	e.Contexts["trace"] = sdk.Context{"trace_id": "kept-trace", "data": "leak"}
	e.Breadcrumbs = []*sdk.Breadcrumb{{Message: "leak"}}
	e.Attachments = []*sdk.Attachment{{Filename: "leak", Payload: []byte("leak")}}
	e.Exception = []sdk.Exception{{Type: "kept-type", Value: "kept-value", Stacktrace: &sdk.Stacktrace{Frames: []sdk.Frame{
		{Function: "kept-function", ContextLine: "leak", PreContext: []string{"leak"}, Vars: map[string]any{"token": "leak"}}}}}}
	text, err := json.Marshal(permitted(e))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "leak") || permitted(e).Attachments != nil {
		t.Errorf("left: %s", text)
	}
	for _, kept := range []string{"message", "release", "logger", "id", "trace", "type", "value", "function"} {
		if !strings.Contains(string(text), "kept-"+kept) {
			t.Errorf("%s is missing in %s", kept, text)
		}
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	for text, secret := range map[string]string{
		"header Authorization: Bearer abcdef123456":           "abcdef123456",
		"token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln bad": "eyJhbGci",
		"dial postgres://shop:hunter2@db/shop":                "hunter2",
		"get https://x.example/a?key=k3y&b=2: refused":        "k3y",
		"no such user ann.b+c@shop.example":                   "ann.b",
		"card 4111 1111 1111 1111 declined":                   "4111",
		`{"password": "hunter2"}`:                             "hunter2",
		"api_key=0123 was refused":                            "0123",
		"key " + strings.Repeat("a1", 30):                     "a1a1a1",
	} {
		if got := scrub(text, nil); strings.Contains(got, secret) || !strings.Contains(got, removed) {
			t.Errorf("%q became %q", text, got)
		}
	}
	for _, harmless := range []string{"runtime error: index out of range [5] with length 3", "open /usr/local/share/app/templates/index.html: no such file or directory",
		"dial tcp 10.0.0.1:5432: connect: connection refused", "request 7 took 12.5s"} {
		if got := scrub(harmless, nil); got != harmless {
			t.Errorf("%q became %q", harmless, got)
		}
	}
	if got := scrub("the client's word: xyzzy", []string{"xyzzy", "the"}); got != "the client's word: "+removed {
		t.Error(got)
	}
	if got := scrub(strings.Repeat("long text ", 1<<20), nil); len(got) > maxText+10 {
		t.Errorf("%d bytes", len(got))
	}
}

func FuzzScrub(f *testing.F) {
	f.Add("Bearer abcdef", "abcdef")
	f.Add("\xff\xfe", "")
	f.Fuzz(func(t *testing.T, text, given string) {
		got := scrub(text, []string{given})
		if len(given) >= worthwhile && !strings.Contains(removed, given) && len(given) < 100 && strings.Contains(got, given) {
			// Taking a text out can join what was around it into the same text again.
			if !strings.Contains(strings.ReplaceAll(text, given, removed), given) {
				t.Fatalf("%q is in %q", given, got)
			}
		}
	})
}
