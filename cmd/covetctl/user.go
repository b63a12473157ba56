package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/covetpy/covet/internal/local"
	"github.com/covetpy/covet/internal/render"
	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/server/auth"
	"github.com/covetpy/covet/server/pg"
)

const userLong = `Users of the service, kept in its database: who may sign in at POST /auth/token, and with which roles.

The database is that of --database-url, DATABASE_URL, or the file that DATABASE_URL_FILE names. Roles are words of your
own; those that the console knows are engineer, on-call-lead, team-lead and product-owner. Every change is kept with
who made it: covetctl user history.`

// knownRoles are those that the decision matrix asks for.
var knownRoles = []string{"engineer", "on-call-lead", "team-lead", "product-owner"}

// userFlags are those of all commands about users.
type userFlags struct {
	databaseURL   string
	passwordStdin bool
	roles         []string
}

func (a *app) userCommand() *cobra.Command {
	f := &userFlags{}
	c := a.group(&cobra.Command{Use: "user", Short: "Look after the users who may sign in", Long: userLong},
		a.userAdd(f), a.userList(f), a.userHistory(f), a.userPassword(f), a.userRoles(f),
		a.userSwitch(f, "disable", "Keep a user from signing in; tokens end when they expire", true),
		a.userSwitch(f, "enable", "Let a user sign in again", false), a.userRemove(f))
	c.PersistentFlags().StringVar(&f.databaseURL, "database-url", "", "the service's database (env DATABASE_URL, DATABASE_URL_FILE)")
	return c
}

func oneName(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage("%s: name one user, for example %s ann", c.CommandPath(), c.CommandPath())
	}
	return nil
}

// url is the database's address.
func (f *userFlags) url() (string, error) {
	if f.databaseURL != "" {
		return f.databaseURL, nil
	}
	if url := os.Getenv("DATABASE_URL"); url != "" {
		return url, nil
	}
	if path := os.Getenv("DATABASE_URL_FILE"); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", usage("DATABASE_URL_FILE: %v", err)
		}
		return strings.TrimSpace(string(text)), nil
	}
	return "", usage("the database is not known: set DATABASE_URL, or give --database-url")
}

// withUsers runs f with the users of the database.
func (f *userFlags) withUsers(ctx context.Context, do func(users *auth.Users, by string) error) error {
	url, err := f.url()
	if err != nil {
		return err
	}
	db, err := pg.Open(pg.Config{URL: url, PoolSize: 1, MaxOverflow: 1, Application: "covetctl user"})
	if err != nil {
		return usage("%v", err)
	}
	if err := db.Start(ctx); err != nil {
		return err
	}
	err = do(auth.NewUsers(db), local.WhoAmI())
	if errors.Is(err, auth.ErrUnavailable) {
		err = &console.Error{Code: console.CodeUnreachable, Message: "the database does not take this: " + errors.Join(db.CheckPrimary(ctx), err).Error(),
			Hint: "check DATABASE_URL, and that the server answers: psql \"$DATABASE_URL\" -c 'select 1'"}
	}
	return errors.Join(err, db.Close(ctx))
}

func (a *app) userAdd(f *userFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "add NAME", Short: "Make a user", Args: oneName,
		Example: "covetctl user add ann --role engineer\ncovetctl user add ci --role engineer --password-stdin",
		RunE: func(c *cobra.Command, args []string) error {
			return f.withUsers(c.Context(), func(users *auth.Users, by string) error {
				password, err := a.newPassword(f)
				if err != nil {
					return err
				}
				if err := users.Add(c.Context(), by, auth.User{Name: args[0], Roles: f.roles}, password); err != nil {
					return err
				}
				return a.said("user %s was added%s", args[0], withRoles(f.roles))
			})
		},
	}
	f.passwordFlag(c)
	f.roleFlag(c, "a role of the user; may be given often")
	return c
}

func (f *userFlags) passwordFlag(c *cobra.Command) {
	c.Flags().BoolVar(&f.passwordStdin, "password-stdin", false, "read the password from standard input, one line")
}

func (f *userFlags) roleFlag(c *cobra.Command, help string) {
	c.Flags().StringSliceVar(&f.roles, "role", nil, help+": "+strings.Join(knownRoles, ", "))
	must(c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(knownRoles, cobra.ShellCompDirectiveNoFileComp)))
}

func withRoles(roles []string) string {
	if len(roles) == 0 {
		return " without roles (covetctl user roles NAME --role engineer)"
	}
	return " as " + strings.Join(roles, ", ")
}

// said answers a command that has changed something.
func (a *app) said(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	return a.show(answer{value: map[string]string{"done": text}, page: func(p *page) { p.line("%s", p.Mark(render.Good, render.Clean(text))) }})
}

// minPassword is the shortest password that is taken, in characters (NIST SP 800-63B, 3.1.1.2: with a second factor 8,
// alone 15; between the two here, since wrong ones are limited to a hundred an hour).
const minPassword = 12

// newPassword asks twice for a password at a terminal, or reads it from standard input.
func (a *app) newPassword(f *userFlags) (string, error) {
	password, err := a.readPassword(f)
	if err != nil {
		return "", err
	}
	if n := len([]rune(password)); n < minPassword {
		return "", usage("the password has %d characters: take at least %d", n, minPassword)
	}
	return password, nil
}

func (a *app) readPassword(f *userFlags) (string, error) {
	if f.passwordStdin {
		line, err := bufio.NewReader(a.in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	file, ok := a.in.(*os.File)
	if !ok || !render.IsTerminal(file) {
		return "", usage("there is no terminal to ask for the password: give --password-stdin")
	}
	first, err := a.prompt(file, "Password: ")
	if err != nil {
		return "", err
	}
	again, err := a.prompt(file, "Once more: ")
	if err == nil && again != first {
		err = usage("the two passwords are not the same; nothing was changed")
	}
	return first, err
}

// prompt reads a line without showing it.
func (a *app) prompt(file *os.File, text string) (string, error) {
	if _, err := fmt.Fprint(a.err, text); err != nil {
		return "", err
	}
	line, err := term.ReadPassword(int(file.Fd()))
	_, lineErr := fmt.Fprintln(a.err)
	if err := errors.Join(err, lineErr); err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return string(line), nil
}

func (a *app) userList(f *userFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the users", Args: none, Example: "covetctl user list\ncovetctl user list -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			return f.withUsers(c.Context(), func(users *auth.Users, _ string) error {
				list, err := users.List(c.Context())
				if err != nil {
					return err
				}
				return a.show(answer{value: list, names: ids(list, func(u auth.Account) string { return u.Name }), page: func(p *page) { p.users(list) }})
			})
		},
	}
}

func (p *page) users(list []auth.Account) {
	if len(list) == 0 {
		p.line("there are no users yet: covetctl user add NAME --role engineer")
		return
	}
	t := p.newTable("USER", "STATE", "ROLES", "MADE", "CHANGED")
	for _, u := range list {
		state := p.Mark(render.Good, "enabled")
		if u.Disabled {
			state = p.Mark(render.Idle, "disabled")
		}
		t.Row(render.Clean(u.Name), state, render.Clean(strings.Join(u.Roles, ", ")), p.age(u.CreatedAt), p.age(u.ChangedAt))
	}
	p.table(t)
}

func (a *app) userHistory(f *userFlags) *cobra.Command {
	limit := 100
	c := &cobra.Command{
		Use: "history", Short: "List who changed which user", Args: none, Example: "covetctl user history",
		RunE: func(c *cobra.Command, _ []string) error {
			return f.withUsers(c.Context(), func(users *auth.Users, _ string) error {
				list, err := users.Changes(c.Context(), limit)
				if err != nil {
					return err
				}
				return a.show(answer{value: list, names: ids(list, func(u auth.Change) string { return u.Name }), page: func(p *page) {
					t := p.newTable("WHEN", "BY", "USER", "CHANGE")
					for _, e := range list {
						t.Row(p.age(e.At), render.Clean(e.By), render.Clean(e.Name), render.Clean(e.Change))
					}
					p.table(t)
				}})
			})
		},
	}
	c.Flags().IntVar(&limit, "limit", limit, "how many changes, the newest first")
	return c
}

func (a *app) userPassword(f *userFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "passwd NAME", Short: "Give a user another password", Args: oneName, Example: "covetctl user passwd ann",
		RunE: func(c *cobra.Command, args []string) error {
			return f.withUsers(c.Context(), func(users *auth.Users, by string) error {
				password, err := a.newPassword(f)
				if err != nil {
					return err
				}
				if err := users.SetPassword(c.Context(), by, args[0], password); err != nil {
					return err
				}
				return a.said("the password of %s was changed", args[0])
			})
		},
	}
	f.passwordFlag(c)
	return c
}

func (a *app) userRoles(f *userFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "roles NAME", Short: "Give a user these roles and no others", Args: oneName, Example: "covetctl user roles ann --role engineer --role on-call-lead",
		RunE: func(c *cobra.Command, args []string) error {
			return f.withUsers(c.Context(), func(users *auth.Users, by string) error {
				if err := users.SetRoles(c.Context(), by, args[0], f.roles); err != nil {
					return err
				}
				return a.said("%s goes on%s, from the next refresh of a token on", args[0], withRoles(f.roles))
			})
		},
	}
	f.roleFlag(c, "a role; without any, all are taken away")
	return c
}

func (a *app) userSwitch(f *userFlags, name, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use: name + " NAME", Short: short, Args: oneName, Example: "covetctl user " + name + " ann",
		RunE: func(c *cobra.Command, args []string) error {
			return f.withUsers(c.Context(), func(users *auth.Users, by string) error {
				if err := users.Disable(c.Context(), by, args[0], disabled); err != nil {
					return err
				}
				return a.said("%s is %sd", args[0], name)
			})
		},
	}
}

func (a *app) userRemove(f *userFlags) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "remove NAME", Short: "Delete a user", Args: oneName, Example: "covetctl user remove ann --yes",
		RunE: func(c *cobra.Command, args []string) error {
			if !yes {
				return usage("this deletes the user %s for good: say --yes, or take covetctl user disable %s", args[0], args[0])
			}
			return f.withUsers(c.Context(), func(users *auth.Users, by string) error {
				if err := users.Remove(c.Context(), by, args[0]); err != nil {
					return err
				}
				return a.said("user %s was removed", args[0])
			})
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	return c
}
