package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/covetpy/covet/server/proxy"
)

// contender is a proxy that can be put in front of a worker.
type contender struct {
	name string
	hint string // how to get it
	// path and headers are what it is asked for, "/1024" if empty.
	path    string
	headers []string
	// command returns what serves listen and passes everything on to worker; dir is for its files.
	command func(ctx context.Context, dir, listen, worker string) (*exec.Cmd, error)
}

// contenders lists ours first.
func contenders(s settings) []contender {
	ours := contender{name: "covet", command: balancerCommand}
	if s.covetd != "" {
		ours.command = func(ctx context.Context, dir, listen, worker string) (*exec.Cmd, error) {
			cmd := exec.CommandContext(ctx, s.covetd)
			cmd.Env = append(os.Environ(), "LISTEN="+listen, "APP_UPSTREAM=http://"+worker, "DATA_DIR="+dir)
			return cmd, nil
		}
	}
	return []contender{
		ours,
		{
			name: "caddy", hint: "go build -C bench/tools -o DIR/caddy github.com/caddyserver/caddy/v2/cmd/caddy, then -caddy DIR/caddy",
			command: func(ctx context.Context, dir, listen, worker string) (*exec.Cmd, error) {
				return configured(ctx, filepath.Join(dir, "Caddyfile"), caddyfile(listen, worker), s.caddy, "run", "--adapter", "caddyfile", "--config")
			},
		},
		{
			name: "nginx", hint: "Debian: apt-get install nginx-light",
			command: func(ctx context.Context, dir, listen, worker string) (*exec.Cmd, error) {
				return configured(ctx, filepath.Join(dir, "nginx.conf"), nginxConf(dir, listen, worker), s.nginx, "-p", dir, "-e", filepath.Join(dir, "nginx.err"), "-c")
			},
		},
	}
}

func balancerCommand(ctx context.Context, _, listen, worker string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, self, "balancer", listen, worker), nil
}

// configured writes a configuration file and appends its name to the command.
func configured(ctx context.Context, file, text, program string, args ...string) (*exec.Cmd, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, append(args, file)...)
	cmd.Env = append(os.Environ(), "HOME="+filepath.Dir(file), "XDG_DATA_HOME="+filepath.Dir(file), "XDG_CONFIG_HOME="+filepath.Dir(file))
	return cmd, nil
}

// caddyfile is a plain reverse proxy: no TLS, no access log, connections to the worker kept.
func caddyfile(listen, worker string) string {
	return fmt.Sprintf(`{
	admin off
	auto_https off
	persist_config off
	log {
		level ERROR
	}
}
http://%s {
	reverse_proxy %s
}
`, listen, worker)
}

// nginxConf does what Caddy's and our proxy do by themselves: HTTP/1.1 and keep-alive to the worker, the forwarding fields.
func nginxConf(dir, listen, worker string) string {
	return fmt.Sprintf(`daemon off;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log %[1]s/nginx.err error;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path %[1]s/client;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	keepalive_requests 100000000;
	upstream worker { server %[3]s; keepalive 128; keepalive_requests 100000000; }
	server {
		listen %[2]s;
		location / {
			proxy_pass http://worker;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $http_host;
			proxy_set_header X-Forwarded-For $remote_addr;
			proxy_set_header X-Forwarded-Proto $scheme;
			proxy_set_header X-Forwarded-Host $http_host;
		}
	}
}
`, dir, listen, worker)
}

// serveWorker answers /N with N bytes.
func serveWorker(listen string) error {
	bodies := make(map[string][]byte)
	h := func(w http.ResponseWriter, r *http.Request) {
		body, ok := bodies[r.URL.Path]
		if !ok {
			n, err := strconv.Atoi(r.URL.Path[1:])
			if err != nil {
				w.WriteHeader(http.StatusOK) // a probe
				return
			}
			body = make([]byte, n)
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body) // an error is the client's leaving, which ends each measurement
	}
	for _, n := range []int{0, 100, 1024, 10 << 10, 100 << 10, 1 << 20} {
		bodies["/"+strconv.Itoa(n)] = make([]byte, n)
	}
	return serve(listen, http.HandlerFunc(h))
}

// serveBalancer mounts the balancer alone.
func serveBalancer(listen, worker string) error {
	b := proxy.New(proxy.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	b.Join(proxy.Target{ID: "worker", Release: "v1.0.0", Addr: worker})
	return serve(listen, b)
}

func serve(listen string, h http.Handler) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	return srv.Serve(l)
}
