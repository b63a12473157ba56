package main

import (
	"context"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/server/config"
)

// rolesSetting is who has which role, by the groups of this machine.
type rolesSetting struct{ roles console.Roles }

func (r *rolesSetting) declare() []config.Setting {
	return []config.Setting{{
		Name: "ROLES", Help: "which groups (or user:NAME) are engineer, on-call-lead, team-lead, product-owner; everybody who may use the socket is all of them if unset",
		Example: "ROLES='engineer=dev; on-call-lead=oncall; team-lead=leads'",
		Set: func(v string) (err error) {
			r.roles, err = console.ParseRolesText(v)
			return err
		},
	}}
}

func (r *rolesSetting) get(context.Context) (console.Roles, error) { return r.roles, nil }
