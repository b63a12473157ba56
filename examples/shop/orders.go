package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/covetpy/covet/server"
	"github.com/covetpy/covet/server/auth"
	"github.com/covetpy/covet/server/pg"
	"github.com/go-chi/chi/v5"
)

// cartCookie holds the cart itself, so that any worker can serve any step of a purchase.
const cartCookie = "shop_cart"

// Limits of a cart; it has to fit a cookie.
const (
	maxCartLines    = 20
	maxLineQuantity = 99
)

// line is so many of one product.
type line struct {
	Product  string `json:"product"`
	Quantity int    `json:"quantity"`
}

// order is a cart that was bought.
type order struct {
	ID    string    `json:"id"`
	Lines []line    `json:"lines"`
	Total int       `json:"total_cents"`
	At    time.Time `json:"at"`

	User        string     `json:"user,omitempty"`         // who was signed in
	ConfirmedAt *time.Time `json:"confirmed_at,omitempty"` // when the job that follows a sale was done
}

func formatCents(c int) string { return fmt.Sprintf("€%d.%02d", c/100, c%100) }

// cartOf reads the cart of a request. A cookie that is not one of ours is an empty cart.
func cartOf(r *http.Request) []line {
	c, err := r.Cookie(cartCookie)
	if err != nil {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return nil
	}
	var lines []line
	if err := json.Unmarshal(text, &lines); err != nil || len(lines) > maxCartLines {
		return nil
	}
	for _, l := range lines {
		if _, ok := findProduct(l.Product); !ok || l.Quantity < 1 || l.Quantity > maxLineQuantity {
			return nil
		}
	}
	return lines
}

func saveCart(w http.ResponseWriter, lines []line) {
	c := &http.Cookie{Name: cartCookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if len(lines) == 0 {
		c.MaxAge = -1
	} else {
		text, err := json.Marshal(lines)
		if err != nil {
			panic(err) // plain texts and numbers
		}
		c.Value = base64.RawURLEncoding.EncodeToString(text)
	}
	http.SetCookie(w, c)
}

// put adds a line, or raises the quantity of the one that is there.
func put(lines []line, add line) ([]line, error) {
	if _, ok := findProduct(add.Product); !ok {
		return nil, errors.New("no such product")
	}
	if add.Quantity < 1 || add.Quantity > maxLineQuantity {
		return nil, fmt.Errorf("a quantity is between 1 and %d", maxLineQuantity)
	}
	for i := range lines {
		if lines[i].Product == add.Product {
			lines[i].Quantity = min(lines[i].Quantity+add.Quantity, maxLineQuantity)
			return lines, nil
		}
	}
	if len(lines) == maxCartLines {
		return nil, errors.New("the cart is full")
	}
	return append(lines, add), nil
}

func total(lines []line) int {
	sum := 0
	for _, l := range lines {
		if p, ok := findProduct(l.Product); ok {
			sum += p.Price * l.Quantity
		}
	}
	return sum
}

type cartView struct {
	Lines []line `json:"lines"`
	Total int    `json:"total_cents"`
}

func showCart(w http.ResponseWriter, r *http.Request) {
	lines := cartOf(r)
	writeJSON(w, http.StatusOK, cartView{Lines: lines, Total: total(lines)})
}

func addToCart(w http.ResponseWriter, r *http.Request) {
	var add line
	if err := json.NewDecoder(r.Body).Decode(&add); err != nil {
		var tooLarge *http.MaxBytesError
		status := http.StatusBadRequest
		if errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		writeError(w, status, `the body is not {"product":"…","quantity":1}`)
		return
	}
	lines, err := put(cartOf(r), add)
	if err != nil {
		writeError(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	saveCart(w, lines)
	writeJSON(w, http.StatusOK, cartView{Lines: lines, Total: total(lines)})
}

func emptyCart(w http.ResponseWriter, _ *http.Request) {
	saveCart(w, nil)
	w.WriteHeader(http.StatusNoContent)
}

// orders sells carts, and shows what was sold.
type orders struct {
	book    ledger
	log     *slog.Logger
	publish func(event string)
}

func newOrders(book ledger, log *slog.Logger, publish func(string)) *orders {
	return &orders{book: book, log: log, publish: publish}
}

func (o *orders) checkout(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		writeError(w, http.StatusBadRequest, "the body could not be read")
		return
	}
	lines := cartOf(r)
	if len(lines) == 0 {
		writeError(w, http.StatusUnprocessableEntity, "the cart is empty")
		return
	}
	sale := order{ID: server.RequestID(r.Context()), Lines: lines, Total: total(lines), At: time.Now().UTC()}
	if p := auth.PrincipalFrom(r.Context()); p != nil {
		sale.User = p.User
	}
	if err := o.book.sell(r.Context(), sale); err != nil {
		o.failed(w, r, err)
		return
	}
	o.publish(fmt.Sprintf("sold for %s", formatCents(sale.Total)))
	saveCart(w, nil)
	writeJSON(w, http.StatusCreated, sale)
}

// failed answers where the ledger cannot: nothing was sold, or nobody knows.
func (o *orders) failed(w http.ResponseWriter, r *http.Request, err error) {
	o.log.Error("the ledger failed", "request_id", server.RequestID(r.Context()), "error", err)
	text := "the shop cannot look into its books at present; try again"
	if errors.Is(err, pg.ErrUnknownOutcome) {
		text = "the order may have been taken or not: look at your orders before you try again"
	}
	w.Header().Set("Retry-After", "1")
	writeError(w, http.StatusServiceUnavailable, text)
}

func (o *orders) list(w http.ResponseWriter, r *http.Request) {
	all, err := o.book.newest(r.Context())
	if err != nil {
		o.failed(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, all)
}

func (o *orders) show(w http.ResponseWriter, r *http.Request) {
	sale, err := o.book.find(r.Context(), chi.URLParam(r, "id"))
	switch {
	case errors.Is(err, errNoOrder):
		writeError(w, http.StatusNotFound, "no such order")
	case err != nil:
		o.failed(w, r, err)
	default:
		writeJSON(w, http.StatusOK, sale)
	}
}
