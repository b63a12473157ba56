package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/covetpy/covet/server"
	"github.com/covetpy/covet/server/auth"
	"github.com/go-chi/chi/v5"
)

// mountAccounts adds what only some may see. Tokens come from the runtime's own /auth/token.
func mountAccounts(r chi.Router, o *orders) {
	r.With(server.RequireRole()).Get("/api/account", showAccount)
	r.With(server.RequireRole("team-lead", "product-owner")).Get("/api/sales", o.sales)
}

type account struct {
	User  string   `json:"user"`
	Roles []string `json:"roles"`
}

func showAccount(w http.ResponseWriter, r *http.Request) {
	p := auth.PrincipalFrom(r.Context())
	writeJSON(w, http.StatusOK, account{User: p.User, Roles: append([]string{}, p.Roles...)})
}

type salesView struct {
	Orders int `json:"orders"`
	Total  int `json:"total_cents"`
}

// sales sums up what was sold.
func (o *orders) sales(w http.ResponseWriter, r *http.Request) {
	view, err := o.book.sum(r.Context())
	if err != nil {
		o.failed(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, view)
}

// addUser is the command "useradd NAME [ROLE…]", which reads the password from the first line of in.
func addUser(args []string, file string, in io.Reader) error {
	if len(args) < 2 || args[0] != "useradd" {
		return fmt.Errorf("usage: AUTH_USERS_FILE=users %s useradd NAME [ROLE…] <password", os.Args[0])
	}
	if file == "" {
		return errors.New("AUTH_USERS_FILE names no file to add the user to")
	}
	password, err := bufio.NewReader(io.LimitReader(in, auth.MaxPassword+2)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the password: %w", err)
	}
	return auth.AddUser(file, auth.User{Name: args[1], Roles: args[2:]}, strings.TrimRight(password, "\r\n"))
}
