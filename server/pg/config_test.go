package pg

import (
	"strings"
	"testing"
)

func TestServersOfAURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"postgres://u:p@a:1,b:2,[::1]:3/db?sslmode=require":              "a:1 b:2 [::1]:3",
		"postgres://u:p@a/db?sslmode=prefer&target_session_attrs=any":    "a:5432",
		"host=/run/postgresql,b port=1,2 user=u dbname=db":               "/run/postgresql:1 b:2",
		"postgres://u@a:1,a:1/db?sslmode=disable&statement_timeout=1000": "a:1",
	} {
		servers, err := Config{}.withDefaults().servers(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		var got []string
		for _, s := range servers {
			got = append(got, newNode(s).name)
			if len(s.ConnConfig.Fallbacks) > 1 {
				t.Errorf("%s: %s has %d fall-backs", url, newNode(s).name, len(s.ConnConfig.Fallbacks))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}

// FuzzURL finds connection URLs that crash, or whose password is shown.
func FuzzURL(f *testing.F) {
	f.Add("postgres://shop:geheim99@db.internal:5432,db2:99999/shop?sslmode=verify-full")
	f.Add("host=a,b port=1 password=geheim99 sslmode=bogus")
	f.Add("postgres://shop:geheim99@[::1/shop?target_session_attrs=x&pool_max_conns=-1")
	f.Fuzz(func(t *testing.T, url string) {
		err := CheckURL(url)
		if err != nil && strings.Contains(url, "geheim99") && strings.Contains(err.Error(), "geheim99") {
			t.Errorf("the password is shown: %v", err)
		}
		if Insecure(url) != "" && err != nil {
			t.Errorf("%q cannot be read, and is insecure", url)
		}
		servers, err := Config{}.withDefaults().servers(url)
		if err == nil && len(servers) == 0 {
			t.Errorf("%q names no server", url)
		}
	})
}

// FuzzToken finds tokens of clients that crash, or are read and not written alike.
func FuzzToken(f *testing.F) {
	f.Add("16/B374D848")
	f.Add("FFFFFFFF/FFFFFFFF")
	f.Fuzz(func(t *testing.T, token string) {
		var s, again Session
		s.Resume(token)
		again.Resume(s.Token())
		if s.At() != again.At() {
			t.Errorf("%q is %v, then %v", token, s.At(), again.At())
		}
	})
}
