package adminclient

import (
	"errors"
	"net/url"
	"testing"

	"github.com/covetpy/covet/ops/console"
)

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "id=r-1&limit=5&before=12", "limit=-1", "limit=9999999999999999999", "before=x", "lines=3&follow=true", "follow=maybe", "release=v1&instance=a%26b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		v, err := url.ParseQuery(raw)
		if err != nil {
			t.Skip("not a query at all")
		}
		if q, err := DecodeQuery(v); err == nil {
			again, err := DecodeQuery(EncodeQuery(q))
			if err != nil || again != q {
				t.Errorf("%q: %+v came back as %+v, %v", raw, q, again, err)
			}
		} else {
			usage(t, raw, err)
		}
		if q, err := DecodeLogQuery(v); err == nil {
			again, err := DecodeLogQuery(EncodeLogQuery(q))
			if err != nil || again != q {
				t.Errorf("%q: %+v came back as %+v, %v", raw, q, again, err)
			}
		} else {
			usage(t, raw, err)
		}
	})
}

func usage(t *testing.T, raw string, err error) {
	t.Helper()
	var e *console.Error
	if !errors.As(err, &e) || e.Code != console.CodeUsage {
		t.Errorf("%q: %v is not a usage error", raw, err)
	}
}

func TestMisreadQueriesNameTheFault(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"limit=ten":    `limit="ten": give a number of 0 or more`,
		"limit=-1":     `limit="-1": give a number of 0 or more`,
		"before=later": `before="later": give the number of an event`,
	}
	for raw, want := range cases {
		v, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeQuery(v); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", raw, err, want)
		}
	}
}
