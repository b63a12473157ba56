package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

// optionalDuration is a flag whose zero value means that covetd chooses: help must not show it as the default.
func optionalDuration(c *cobra.Command, v *time.Duration, name, use string) {
	c.Flags().DurationVar(v, name, 0, use)
	c.Flags().Lookup(name).DefValue = ""
}

// notZero refuses a zero that was said on purpose where it would be taken for nothing said.
func notZero(c *cobra.Command, names ...string) error {
	for _, name := range names {
		if f := c.Flags().Lookup(name); f.Changed && (f.Value.String() == "0" || f.Value.String() == "0s") {
			return usage("--%s %s: give more than nothing, or leave it out for the default", name, f.Value)
		}
	}
	return nil
}

// tuning are the flags that say how to roll out.
type tuning struct {
	strategy             string
	weights, approve     []int
	bake, keep, deadline time.Duration
	instances            int
}

func (t *tuning) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&t.strategy, "strategy", string(rollout.Canary), "canary, rolling or blue-green")
	f.IntSliceVar(&t.weights, "weights", nil, "canary: the shares of traffic in percent, ascending to 100 (default 1,10,25,50,100)")
	optionalDuration(c, &t.bake, "bake", "how long each step is watched (default by strategy)")
	f.IntSliceVar(&t.approve, "approve", nil, "ask a person after the steps with these weights")
	optionalDuration(c, &t.keep, "keep", "how long the old release stays warm afterwards (default by strategy)")
	optionalDuration(c, &t.deadline, "deadline", "how long a step may take to have its instances ready (default 2m)")
	f.IntVar(&t.instances, "instances", 0, "copies of the release (default as it was added)")
	strategies := make([]string, 0, len(rollout.Strategies()))
	for _, s := range rollout.Strategies() {
		strategies = append(strategies, string(s))
	}
	must(c.RegisterFlagCompletionFunc("strategy", cobra.FixedCompletions(strategies, cobra.ShellCompDirectiveNoFileComp)))
}

// read is what the flags say. A bake or keep of zero that was said on purpose is told from one that was not said.
func (t *tuning) read(c *cobra.Command) rollout.Tuning {
	f := c.Flags()
	return rollout.Tuning{
		Strategy: rollout.Strategy(t.strategy), Weights: t.weights, Approve: t.approve, Instances: t.instances,
		Bake: journal.Duration(t.bake), NoBake: f.Changed("bake") && t.bake == 0,
		Keep: journal.Duration(t.keep), NoKeep: f.Changed("keep") && t.keep == 0,
		Deadline: journal.Duration(t.deadline),
	}
}

const startLong = `Begin a rollout: move the traffic from the stable release to VERSION.

  canary      a growing share of traffic, watched at each step (the default)
  rolling     one instance at a time
  blue-green  a full second set, checked, then one switch; the old set stays warm

When the new release fails, it is rolled back by itself. The rollout goes on when covetctl ends.`

func (a *app) rolloutStart() *cobra.Command {
	var in console.StartRequest
	var t tuning
	var watch bool
	c := &cobra.Command{
		Use: "start VERSION", Short: "Begin a rollout", Long: startLong, Args: versionArg, ValidArgsFunction: a.versions(),
		Example: `covetctl rollout start v1.1.0 --watch
covetctl rollout start v1.1.0 --plan
covetctl rollout start v1.1.0 --weights 5,25,100 --bake 5m --approve 25
covetctl rollout start v1.1.0 --strategy blue-green --keep 30m --reason "new checkout"`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := notZero(c, "instances", "deadline"); err != nil {
				return err
			}
			in.To, in.Tuning = args[0], t.read(c)
			return a.startRollout(c, in, watch)
		},
	}
	t.flags(c)
	commonFlags(c, &in.Common)
	c.Flags().BoolVar(&in.Force, "force", false, "even though the release is quarantined")
	c.Flags().BoolVar(&in.Supersede, "supersede", false, "undo the rollout that is under way first")
	watchFlag(c, &watch)
	return c
}

func (a *app) rolloutPlan() *cobra.Command {
	var in console.StartRequest
	var t tuning
	c := &cobra.Command{
		Use: "plan VERSION", Short: "Show what a rollout would do", Args: versionArg, ValidArgsFunction: a.versions(),
		Example: "covetctl rollout plan v1.1.0\ncovetctl rollout plan v1.1.0 --strategy rolling -o json",
		RunE: func(c *cobra.Command, args []string) error {
			if err := notZero(c, "instances", "deadline"); err != nil {
				return err
			}
			in.To, in.Tuning, in.Plan = args[0], t.read(c), true
			return a.startRollout(c, in, false)
		},
	}
	t.flags(c)
	c.Flags().StringVar(&in.Reason, "reason", "", "why, for the audit log")
	c.Flags().BoolVar(&in.Force, "force", false, "even though the release is quarantined")
	c.Flags().BoolVar(&in.Supersede, "supersede", false, "undo the rollout that is under way first")
	return c
}

func (a *app) startRollout(c *cobra.Command, in console.StartRequest, watch bool) error {
	if _, err := in.Normalize(); err != nil {
		return usage("rollout to %s: %v", in.To, err)
	}
	port, err := a.connect(c.Context())
	if err != nil {
		return err
	}
	err = a.act(c.Context(), port, console.StartRollout, in, in.Plan, watch, func(rollout.Rollout) rollout.Phase { return rollout.Succeeded })
	return a.meant(c.Context(), port, in.To, err)
}
