package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
)

const serviceLong = `Scale the service to nothing, and start it again. Stopped, it stays stopped: also when covetd is killed and started anew.
Requests are answered with 503 meanwhile. A rollback that is asked for while it is stopped takes effect when it starts.`

func (a *app) serviceCommand() *cobra.Command {
	return a.group(&cobra.Command{Use: "service", Short: "Stop the whole service, and start it again", Long: serviceLong},
		a.serviceStop(), a.serviceStart())
}

func (a *app) serviceStop() *cobra.Command {
	var in console.Target
	var yes bool
	c := &cobra.Command{
		Use: "stop", Short: "Stop every instance, and keep them stopped", Args: none,
		Long:    "Stop every instance once it has finished its requests, and wait until all are gone. covetctl service start begins anew.",
		Example: "covetctl service stop --plan\ncovetctl service stop --yes --reason \"the database is being restored\"",
		RunE: func(c *cobra.Command, _ []string) error {
			if !yes && !in.Plan {
				e := usage("this stops the whole service: nobody will be answered")
				e.Hint = "say --yes to do it, --plan to see what it means"
				return e
			}
			return a.turnService(c.Context(), console.StopService, in, serviceGone)
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do it: nobody is answered until it is started again")
	commonFlags(c, &in.Common)
	return c
}

func (a *app) serviceStart() *cobra.Command {
	var in console.Target
	c := &cobra.Command{
		Use: "start", Short: "Start the service after it was stopped", Args: none,
		Long:    "Start the stable release's instances again, and wait until they are ready.",
		Example: "covetctl service start\ncovetctl service start --restore 20260301T135748Z-k3xq",
		RunE: func(c *cobra.Command, _ []string) error {
			return a.turnService(c.Context(), console.StartService, in, serviceReady)
		},
	}
	c.Flags().StringVar(&in.ID, "restore", "", "the unfinished database restore for which it is stopped: start although the database may be half of one")
	commonFlags(c, &in.Common)
	return c
}

// turnService gives the command, and waits until it has come true.
func (a *app) turnService(ctx context.Context, op console.Op, in console.Target, done func(console.Status) bool) error {
	port, offline, err := a.connectAnyhow(ctx)
	if err != nil {
		return err
	}
	if in.Plan {
		plan, err := command[console.Plan](ctx, a, port, op, in)
		if err != nil {
			return err
		}
		return a.showPlan(plan)
	}
	ack, err := command[console.Ack](ctx, a, port, op, in)
	if err != nil {
		return err
	}
	if !offline {
		if err := awaitStatus(ctx, port, done); err != nil {
			return err
		}
	}
	return a.show(answer{value: ack, page: func(p *page) { p.line("%s", ack.Message) }})
}

// awaitStatus waits for the service to be as wanted.
func awaitStatus(ctx context.Context, port console.Port, done func(console.Status) bool) error {
	for {
		var st console.Status
		if err := port.Ask(ctx, console.GetStatus, console.Query{}, &st); err != nil {
			return err
		}
		if done(st) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the service is not as wanted yet: %w", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// serviceGone says that no instance is left.
func serviceGone(st console.Status) bool {
	for _, r := range st.Releases {
		if r.Ready > 0 || r.Role == console.RoleLeaving {
			return false
		}
	}
	return st.Stopped != nil && len(st.Releases) == 0
}

// serviceReady says that what has the traffic has all its instances.
func serviceReady(st console.Status) bool {
	ready, wanted := capacity(st)
	return st.Stopped == nil && wanted > 0 && ready >= wanted || st.Stopped == nil && st.Stable == ""
}

// stoppedText says why the service is stopped.
func stoppedText(s *rollout.Stop) string {
	text := "the service is STOPPED, by " + s.By
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	if s.Restore != "" {
		return text + fmt.Sprintf(" (restore %s: covetctl restore status)", s.Restore)
	}
	return text + " (covetctl service start)"
}
