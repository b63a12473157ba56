package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/server"
	"github.com/covetpy/covet/server/config"
	"github.com/covetpy/covet/server/workers"
)

// streams are the program's standard files.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// Exit statuses of covetd.
const (
	exitFailed = 1 // it could not start, or its life ended badly
	exitUsage  = 2 // the command line or the configuration is wrong; nothing was opened
)

// run is the program; it returns the exit status.
func run(ctx context.Context, args []string, std streams, environ []string) int {
	if len(args) == 1 && args[0] == "guard" {
		return guard(ctx, std)
	}
	cmd := rootCommand(environ, std)
	cmd.SetArgs(args)
	cmd.SetIn(std.in)
	cmd.SetOut(std.out)
	cmd.SetErr(std.err)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(std.err, "covetd:", err) //nolint:errcheck // there is nowhere left to say it
	var bad *config.Error
	if errors.As(err, &bad) || errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailed
}

// guard is the process that outlives covetd for a moment, to end its workers.
func guard(ctx context.Context, std streams) int {
	if err := workers.RunGuardian(ctx, std.in); err != nil {
		fmt.Fprintln(std.err, "covetd guard:", err) //nolint:errcheck // there is nowhere left to say it
		return exitFailed
	}
	return 0
}

type usageError struct{ error }

func rootCommand(environ []string, std streams) *cobra.Command {
	var from origin
	cmd := &cobra.Command{
		Use:   "covetd",
		Short: "Run a service's releases on this machine, and move traffic between them",
		Long: `covetd runs the releases of one service as supervised worker processes, balances traffic between them, and owns
their rollouts. It is operated with covetctl, over a unix socket in its data directory.

Every setting is an environment variable, a line of a .env file, a key of a YAML file (--config) or a flag
(--set NAME=VALUE); "covetd config show" lists them all with their values and where each is from.

Signals: SIGTERM drains and exits, SIGQUIT exits at once, SIGHUP reloads, SIGUSR2 hands over to a new covetd without
losing a request.`,
		Example: `  # serve an application as its first release, on port 8000
  SERVICE=shop APP_COMMAND="./shop" APP_VERSION=v1.0.0 APP_WORKERS=4 covetd

  # begin with nothing, and deploy with covetctl
  covetd --data-dir ./.covet`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("there is no command %q; covetd --help lists them", args[0])}
			}
			return nil
		},
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), from.sources(environ), environ)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	flags := cmd.PersistentFlags()
	flags.StringVar(&from.file, "config", "", "YAML file with settings (COVET_CONFIG)")
	flags.StringVar(&from.dotEnv, "env-file", ".env", "file with NAME=value lines; the default may be missing")
	flags.StringVar(&from.dataDir, "data-dir", "", "where state is kept (DATA_DIR, COVET_DATA_DIR)")
	flags.StringVar(&from.listen, "listen", "", "address of the public listener, such as :8000 (LISTEN)")
	flags.StringArrayVar(&from.set, "set", nil, "one setting as NAME=VALUE; may be given often")
	cmd.AddCommand(configCommand(&from, environ, std), versionCommand(std), controllerCommand(environ, std))
	return cmd
}

// origin is what the command line says about where settings come from.
type origin struct {
	file, dotEnv, dataDir, listen string
	set                           []string
}

func (o *origin) sources(environ []string) config.Sources {
	src := config.Sources{Environ: environ, DotEnv: o.dotEnv, File: o.file, Overrides: map[string]string{}, Defaults: map[string]string{}}
	if src.File == "" {
		src.File = lookup(environ, "COVET_CONFIG")
	}
	if dir := lookup(environ, "COVET_DATA_DIR"); dir != "" {
		src.Defaults["DATA_DIR"] = dir
	}
	if path := lookup(environ, "COVET_SOCKET"); path != "" {
		src.Defaults["ADMIN_SOCKET"] = path
	}
	for name, value := range map[string]string{"DATA_DIR": o.dataDir, "LISTEN": o.listen} {
		if value != "" {
			src.Overrides[name] = value
		}
	}
	for _, kv := range o.set {
		name, value, _ := strings.Cut(kv, "=")
		src.Overrides[strings.TrimSpace(name)] = value
	}
	return src
}

func serve(ctx context.Context, src config.Sources, environ []string) error {
	src.Environ = forget(src.Environ)
	var backups backupSettings
	var roles rolesSetting
	src.Settings = append(backups.declare(), roles.declare()...)
	cfg, _, err := config.Load(src)
	if err != nil {
		return err
	}
	if cfg.DataDir, err = filepath.Abs(cfg.DataDir); err != nil {
		return fmt.Errorf("find the data directory: %w", err)
	}
	s, err := server.New(cfg)
	if err != nil {
		return err
	}
	d := newDaemon(cfg, s.Logger("covetd"), thisVersion())
	d.roles = &roles
	d.succeeding = lookup(environ, server.HandoverVariable) != ""
	d.attach(s)
	if err := d.attachRecovery(s, &backups); err != nil {
		return err
	}
	if err := s.Run(ctx); err != nil && !errors.Is(err, server.ErrForced) {
		return err
	}
	return nil
}

func configCommand(from *origin, environ []string, std streams) *cobra.Command {
	group := &cobra.Command{Use: "config", Short: "Check or show the configuration"}
	check := &cobra.Command{
		Use: "check", Short: "Say everything that is wrong with the configuration", Args: cobra.NoArgs,
		Example: "  covetd config check --config /etc/covet/shop.yaml",
		RunE: func(*cobra.Command, []string) error {
			src := from.sources(environ)
			src.Settings = append(new(backupSettings).declare(), new(rolesSetting).declare()...)
			if _, _, err := config.Load(src); err != nil {
				return err
			}
			_, err := fmt.Fprintln(std.out, "the configuration is sound")
			return err
		},
	}
	asJSON := false
	show := &cobra.Command{
		Use: "show", Short: "List every setting with its value and where it is from; secrets are masked", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			src := from.sources(environ)
			src.Settings = append(new(backupSettings).declare(), new(rolesSetting).declare()...)
			_, report, fault := config.Load(src)
			if asJSON {
				enc := json.NewEncoder(std.out)
				enc.SetIndent("", "  ")
				return errors.Join(enc.Encode(report), fault)
			}
			_, err := fmt.Fprint(std.out, report)
			return errors.Join(err, fault)
		},
	}
	show.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	group.AddCommand(check, show)
	return group
}

// version is set by the linker for releases.
var version string

func thisVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func versionCommand(std streams) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which covetd this is", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(std.out, "covetd %s (pid %d)\n", thisVersion(), os.Getpid())
			return err
		},
	}
}
