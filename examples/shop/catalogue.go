package main

import (
	"encoding/json"
	"html/template"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
)

// product is something the shop sells; its price is in cents.
type product struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Price int    `json:"price_cents"`
}

// catalogueTTL is how long an answer about the catalogue is kept.
const catalogueTTL = 30 * time.Second

// catalogue is the whole stock, in the order it is shown.
var catalogue = []product{
	{"oolong", "Oolong tea, 100 g", 1290},
	{"sencha", "Sencha tea, 100 g", 990},
	{"teapot", "Teapot of cast iron", 5900},
	{"cup", "Cup, stoneware", 1450},
	{"kettle", "Kettle with thermometer", 7900},
}

func findProduct(id string) (product, bool) {
	for _, p := range catalogue {
		if p.ID == id {
			return p, true
		}
	}
	return product{}, false
}

func listProducts(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, catalogue) }

func showProduct(w http.ResponseWriter, r *http.Request) {
	p, ok := findProduct(chi.URLParam(r, "id"))
	if !ok {
		writeError(w, http.StatusNotFound, "no such product")
		return
	}
	writeJSON(w, http.StatusOK, p)
}

var frontTemplate = template.Must(template.New("front").Funcs(template.FuncMap{
	"euros": func(cents int) string { return formatCents(cents) },
}).Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Shop {{.Version}}</title>
<h1>Tea shop</h1>
<ul>
{{range .Products}}<li><a href="/api/products/{{.ID}}">{{.Name}}</a> {{euros .Price}}</li>
{{end}}</ul>
<p>Release {{.Version}}</p>
</html>
`))

// frontPage is the shop's one HTML page.
func frontPage(version string) http.HandlerFunc {
	page := struct {
		Version  string
		Products []product
	}{version, catalogue}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
		// The template and its data are fixed: what can fail is only the connection.
		_ = frontTemplate.Execute(w, page)
	}
}

// stamped names the release in every answer of the shop.
func stamped(version string) func(http.Handler) http.Handler {
	value := []string{version}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["X-Shop-Version"] = value
			next.ServeHTTP(w, r)
		})
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // a type of ours that JSON cannot hold: the runtime answers 500 and logs where
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client may have gone
}

func writeError(w http.ResponseWriter, status int, text string) {
	writeJSON(w, status, map[string]string{"error": text})
}
