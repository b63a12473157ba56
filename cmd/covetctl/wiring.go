package main

import (
	"cmp"
	"context"
	"path/filepath"
	"runtime/debug"

	"github.com/covetpy/covet/internal/adminclient"
	"github.com/covetpy/covet/internal/kube"
	"github.com/covetpy/covet/internal/local"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/tui"
)

// parts are what covetctl is put together from. A nil one is not there.
type parts struct {
	online  func(socket string) console.Port
	offline func(ctx context.Context, dataDir string) (console.Port, error)
	place   func(dataDir string) (socket string) // of the covetd whose data is there
	cluster func(ctx context.Context, t kube.Target, once bool) (console.Port, error)
	tui     func(ctx context.Context, port console.Port, o tuiOptions) error
	build   build
}

// tuiOptions is what the command line says about the TUI.
type tuiOptions struct {
	Recovery console.Recovery
	Returned tui.Returned
	Socket   string
	Target   string // as shown; empty for the socket
	User     string // likewise; empty for whoever runs this program
	NoColor  bool
	ASCII    bool

	Accessible bool
	Theme      string
}

func wired() parts {
	return parts{
		online: func(socket string) console.Port { return adminclient.New(socket) },
		offline: func(ctx context.Context, dataDir string) (console.Port, error) {
			return local.OpenOffline(ctx, dataDir)
		},
		place:   place,
		cluster: openCluster,
		tui:     openTUI,
		build:   thisBuild(),
	}
}

// openTUI opens the interactive console.
func openTUI(ctx context.Context, port console.Port, o tuiOptions) error {
	return tui.Run(ctx, tui.Options{
		Port: port, Recovery: o.Recovery, Returned: o.Returned, Target: cmp.Or(o.Target, "local:"+o.Socket), User: cmp.Or(o.User, local.WhoAmI()), ReadOnly: true,
		ASCII: o.ASCII, NoColor: o.NoColor, Accessible: o.Accessible, Theme: o.Theme,
	})
}

// place is the socket that the covetd of a data directory said it listens on, or the one it would.
func place(dataDir string) string {
	p, err := local.ReadPlace(dataDir)
	if err != nil || p.Socket == "" {
		return filepath.Join(dataDir, "covetd.sock")
	}
	return p.Socket
}

// version is set by the linker for releases.
var version string

// build is what the program knows of its own making.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
}

func thisBuild() build {
	b := build{Version: version}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Go = info.GoVersion
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}
