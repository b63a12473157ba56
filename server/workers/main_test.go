package workers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be what the tests need processes for: a worker, a guardian, a covetd.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "guard":
			if err := RunGuardian(context.Background(), os.Stdin); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case "worker":
			runWorker(os.Args[2:])
			os.Exit(0)
		case "covetd":
			runCovetd(os.Args[2:])
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// runWorker is a worker with the faults that its arguments name.
func runWorker(modes []string) {
	mux := http.NewServeMux()
	mux.HandleFunc("/health/ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/pid", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid()) })
	for _, mode := range modes {
		name, arg, _ := strings.Cut(mode, "=")
		workerModes[name](mux, arg)
	}
	fmt.Println("listening on", os.Getenv("PORT"))
	srv := &http.Server{Addr: net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")), Handler: mux}
	stop := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGTERM) {
		signal.Notify(stop, syscall.SIGTERM)
	}
	go func() {
		if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(7)
		}
	}()
	<-stop
	if err := srv.Shutdown(context.Background()); err != nil {
		os.Exit(8)
	}
}

var workerModes = map[string]func(mux *http.ServeMux, arg string){
	"exit": func(_ *http.ServeMux, arg string) {
		fmt.Println("cannot read the configuration")
		code, err := strconv.Atoi(arg)
		must(err)
		os.Exit(code)
	},
	"deaf": func(*http.ServeMux, string) { time.Sleep(time.Hour) },
	"hang": func(*http.ServeMux, string) {
		_, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT")))
		must(err)
		time.Sleep(time.Hour)
	},
	"refuse": func(mux *http.ServeMux, file string) { // answers 500 to its probe while the file exists
		mux.HandleFunc("/ready-file", func(w http.ResponseWriter, _ *http.Request) {
			if _, err := os.Stat(file); err == nil {
				http.Error(w, "\ndatabase is away\nmore", http.StatusInternalServerError)
			}
		})
	},
	"stubborn": func(*http.ServeMux, string) { signal.Ignore(syscall.SIGTERM) },
	"ignoreterm": func(*http.ServeMux, string) {
		signal.Ignore(syscall.SIGTERM)
		time.Sleep(time.Hour)
	},
	"child":   func(_ *http.ServeMux, arg string) { grandchild(arg, nil, &syscall.SysProcAttr{}, false) },
	"session": func(_ *http.ServeMux, arg string) { grandchild(arg, nil, &syscall.SysProcAttr{Setsid: true}, false) },
	"cleared": func(_ *http.ServeMux, arg string) { grandchild(arg, []string{"A=b"}, &syscall.SysProcAttr{}, false) },
	"daemon": func(_ *http.ServeMux, arg string) {
		grandchild(arg, []string{"A=b"}, &syscall.SysProcAttr{Setsid: true}, true)
	},
	"sleep": func(*http.ServeMux, string) { time.Sleep(time.Hour) },
	"twice": func(_ *http.ServeMux, arg string) {
		grandchild(arg, []string{"A=b"}, &syscall.SysProcAttr{Setsid: true}, false)
		os.Exit(0)
	},
	"flood": func(_ *http.ServeMux, arg string) {
		n, err := strconv.Atoi(arg)
		must(err)
		line := strings.Repeat("x", 99) + "\n"
		chunk := strings.Repeat(line, 100)
		for range n / 100 {
			fmt.Print(chunk)
		}
		fmt.Println("flood over")
	},
	"slow": func(mux *http.ServeMux, arg string) {
		d, err := time.ParseDuration(arg)
		must(err)
		mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Println("slow begins")
			time.Sleep(d)
			fmt.Fprint(w, "finished")
		})
	},
	"die": func(mux *http.ServeMux, _ string) {
		mux.HandleFunc("/die", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	},
	"environ": func(mux *http.ServeMux, _ string) {
		mux.HandleFunc("/environ", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Join(os.Environ(), "\n")) })
	},
}

// grandchild starts a process that sleeps and writes its pid to a file; with daemon, one process removed.
func grandchild(file string, env []string, attr *syscall.SysProcAttr, daemon bool) {
	cmd := exec.Command("/proc/self/exe", "worker", "sleep")
	if daemon {
		cmd = exec.Command("/proc/self/exe", "worker", "twice="+file)
	}
	cmd.Env, cmd.SysProcAttr = env, attr
	must(cmd.Start())
	if daemon {
		must(cmd.Wait())
		return
	}
	must(os.WriteFile(file+".new", []byte(strconv.Itoa(cmd.Process.Pid)), 0o600))
	must(os.Rename(file+".new", file))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(9)
	}
}

// runCovetd supervises until it is killed.
func runCovetd(args []string) {
	s, err := New(Options{StateDir: args[0], Traffic: nobody{}})
	must(err)
	spec := Spec{Release: "v1", Command: append([]string{"/proc/self/exe", "worker"}, args[2:]...)}
	n, err := strconv.Atoi(args[1])
	must(err)
	must(s.Ensure(context.Background(), spec, n))
	time.Sleep(time.Hour)
}

// nobody is a Traffic without requests.
type nobody struct{}

func (nobody) Join(_, _, _ string)                 {}
func (nobody) Suspend(string)                      {}
func (nobody) Leave(context.Context, string) error { return nil }
