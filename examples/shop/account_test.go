package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
)

func TestAccountsAndRoles(t *testing.T) {
	t.Parallel()
	users := filepath.Join(t.TempDir(), "users")
	for _, args := range [][]string{{"useradd", "ann", "product-owner"}, {"useradd", "ben"}} {
		if err := addUser(args, users, strings.NewReader("correct horse\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := addUser([]string{"useradd"}, users, strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), "usage") {
		t.Errorf("a name is missing: %v", err)
	}
	p := start(t, "AUTH_USERS_FILE="+users, "JWT_SECRET_KEY="+strings.Repeat("k", 64)).up()
	get := func(path, token string) int {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, p.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	for name, want := range map[string][2]int{"ann": {200, 200}, "ben": {200, 403}} {
		resp, err := http.PostForm(p.url+"/auth/token", url.Values{"username": {name}, "password": {"correct horse"}})
		if err != nil {
			t.Fatal(err)
		}
		var pair struct {
			AccessToken string `json:"access_token"`
		}
		err = json.NewDecoder(resp.Body).Decode(&pair)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d, %v", name, resp.StatusCode, err)
		}
		if got := [2]int{get("/api/account", pair.AccessToken), get("/api/sales", pair.AccessToken)}; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := get("/api/sales", "x"); got != 401 {
		t.Errorf("nobody: %d", got)
	}
}
