// Shop is a small web shop on the runtime of Covet, used as a library: a catalogue, a cart, a checkout, a live feed and a
// streamed export. It exists to be deployed: its releases differ by version, and faults can be switched on in one of
// them by its environment. README.md lists them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/covetpy/covet/server"
	"github.com/covetpy/covet/server/config"
	"github.com/go-chi/chi/v5/middleware"
)

// version is set by the linker: -ldflags "-X main.version=v1.0.0". SHOP_VERSION wins over it.
var version = "v0.0.0-dev"

func main() {
	if len(os.Args) > 1 {
		if err := addUser(os.Args[1:], os.Getenv("AUTH_USERS_FILE"), os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, "shop:", err)
			os.Exit(2)
		}
		return
	}
	os.Exit(run(os.Environ()))
}

// run is the whole program; it returns the exit status.
func run(environ []string) int {
	opts := options{Version: version}
	cfg, _, err := config.Load(config.Sources{
		Environ: environ,
		// A shop is a worker: what stands in front of it has done the waiting, and is the only one to talk to it.
		// All clients come from its address, too.
		Defaults: map[string]string{"SERVICE": "shop", "LISTEN": "127.0.0.1:8000", "DRAIN_DELAY": "0s", "IDLE_GRACE": "250ms", "WEBSOCKET_PER_ADDRESS": "100000"},
		Settings: opts.settings(),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	cfg.Version = opts.Version
	if opts.ExitAtStart > 0 {
		fmt.Fprintf(os.Stderr, "shop %s: SHOP_EXIT_AT_START: exiting with status %d\n", opts.Version, opts.ExitAtStart)
		return opts.ExitAtStart
	}
	if opts.Hang {
		err = hang(cfg.Listen)
	} else {
		err = serve(cfg, opts)
	}
	if err != nil && !errors.Is(err, server.ErrForced) {
		fmt.Fprintln(os.Stderr, "shop:", err)
		return 1
	}
	return 0
}

func serve(cfg config.Config, opts options) error {
	srv, err := server.New(cfg)
	if err != nil {
		return err
	}
	newShop(srv, opts)
	return srv.Run(context.Background())
}

// newShop mounts the application on the runtime.
func newShop(srv *server.Server, opts options) {
	feed := newFeed()
	srv.OnDrain(feed.close)
	book := newLedger(srv)
	orders := newOrders(book, srv.Logger("orders"), feed.publish)
	faults := newFaults(opts)
	faults.register(srv)
	r := srv.Router()
	r.Use(middleware.GetHead, stamped(opts.Version), faults.middleware)
	r.Get("/", frontPage(opts.Version))
	kept := r.With(srv.CachePages(server.PageOptions{TTL: catalogueTTL}))
	kept.Get("/api/products", listProducts)
	kept.Get("/api/products/{id}", showProduct)
	r.Get("/api/cart", showCart)
	r.Post("/api/cart", addToCart)
	r.Delete("/api/cart", emptyCart)
	r.Post("/api/checkout", orders.checkout)
	r.Get("/api/orders", orders.list)
	r.Get("/api/orders/{id}", orders.show)
	mountAccounts(r, orders)
	r.Get("/feed", feed.events)
	r.Get("/feed/ws", srv.WebSockets().Feed(feed.socket).ServeHTTP)
	r.Get("/export", export)
}
