package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"

	"github.com/covetpy/covet/test/pg"
)

// buy puts a teapot into the cart and checks out.
func buy(t *testing.T, client *http.Client, url string) order {
	t.Helper()
	for path, body := range map[string]string{"/api/cart": `{"product":"teapot","quantity":2}`} {
		resp, err := client.Post(url+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	resp, err := client.Post(url+"/api/checkout", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("checkout: %s %s %v", resp.Status, text, err)
	}
	var sale order
	if err := json.Unmarshal(text, &sale); err != nil {
		t.Fatal(err)
	}
	return sale
}

func fetch(t *testing.T, client *http.Client, url string, v any) int {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

func TestOrdersInPostgreSQL(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	replica := pgtest.Follow(t, primary, map[string]string{"recovery_min_apply_delay": "2s"})
	env := []string{"DATABASE_URL=" + primary.DSN(), "DATABASE_REPLICA_1_URL=" + replica.DSN(), "DATABASE_REPLICA_MAX_LAG=1h"}
	one, two := start(t, env...), start(t, env...)
	for _, p := range []*process{one, two} {
		pgtest.Eventually(t, "the shop is ready", func() bool {
			resp, err := http.Get(p.url + "/health/ready")
			if err != nil {
				return false
			}
			resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	sale := buy(t, client, one.url)
	for _, p := range []*process{one, two} { // the cookie tells the other process too how far to read
		var got order
		if status := fetch(t, client, p.url+"/api/orders/"+sale.ID, &got); status != http.StatusOK || got.Total != 11800 {
			t.Errorf("the buyer does not see the order: %d, %+v", status, got)
		}
	}
	pgtest.Eventually(t, "the order is confirmed by its job", func() bool {
		return primary.One("SELECT confirmed_at IS NOT NULL FROM shop_orders WHERE id = $1", sale.ID) == "true"
	})
	primary.Kill()
	replica.Promote()
	if again := buy(t, client, two.url); replica.One("SELECT count(*) FROM shop_orders WHERE id IN ($1, $2)", sale.ID, again.ID) != "2" {
		t.Error("an order is missing after the promotion")
	}
	var view salesView
	if err := json.Unmarshal([]byte(replica.One("SELECT json_build_object('orders', count(*)) FROM shop_orders")), &view); err != nil || view.Orders != 2 {
		t.Errorf("sales %+v, %v", view, err)
	}
}

func TestTheCatalogueIsCached(t *testing.T) {
	p := start(t)
	var last string
	pgtest.Eventually(t, "the second answer comes from the cache", func() bool {
		resp, err := http.Get(p.url + "/api/products")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		last = resp.Header.Get("Cache-Status")
		return last == "covet; hit" && resp.Header.Get("X-Shop-Version") != "" && resp.Header.Get("Etag") != ""
	})
}
