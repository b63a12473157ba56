package admin

import (
	"context"
	"fmt"
	"os/user"
	"strconv"
	"sync"
	"time"

	"github.com/covetpy/covet/server"
)

// Identity is who asks, as the kernel vouches for it.
type Identity struct {
	Name   string   `json:"name"` // login name, or "uid 1000" where there is none
	UID    int      `json:"uid"`
	GID    int      `json:"gid"`
	PID    int      `json:"pid"`
	Groups []string `json:"groups,omitempty"` // names, the primary one included
	Via    string   `json:"via"`              // how it was established: "unix"
}

// identityTTL is how long a looked-up account is believed: a group that was just granted counts within it.
const identityTTL = 30 * time.Second

// Peers tells who is at the other end of a unix socket. Give Identify to New, and serve the handler where
// server.PeerFrom knows the peer.
type Peers struct {
	mu    sync.Mutex
	known map[ids]account
	now   func() time.Time
}

type ids struct{ uid, gid int }

type account struct {
	name   string
	groups []string
	at     time.Time
}

// NewPeers makes an empty Peers.
func NewPeers() *Peers {
	return &Peers{known: make(map[ids]account), now: time.Now}
}

// Identify returns the peer of the connection that the request came over. It is false where the kernel vouches for nobody.
func (p *Peers) Identify(ctx context.Context) (Identity, bool) {
	cred, ok := server.PeerFrom(ctx)
	if !ok {
		return Identity{}, false
	}
	acc := p.account(ids{cred.UID, cred.GID})
	return Identity{Name: acc.name, UID: cred.UID, GID: cred.GID, PID: cred.PID, Groups: acc.groups, Via: "unix"}, true
}

func (p *Peers) account(id ids) account {
	p.mu.Lock()
	acc, ok := p.known[id]
	p.mu.Unlock()
	if ok && p.now().Sub(acc.at) < identityTTL {
		return acc
	}
	acc = lookUp(id)
	acc.at = p.now()
	p.mu.Lock()
	p.known[id] = acc
	p.mu.Unlock()
	return acc
}

// lookUp never fails: an account that the user database does not know still has its numbers.
func lookUp(id ids) account {
	acc := account{name: fmt.Sprintf("uid %d", id.uid)}
	gids := []string{strconv.Itoa(id.gid)}
	if u, err := user.LookupId(strconv.Itoa(id.uid)); err == nil {
		acc.name = u.Username
		if all, err := u.GroupIds(); err == nil {
			gids = append(gids, all...)
		}
	}
	seen := make(map[string]bool, len(gids))
	for _, gid := range gids {
		if seen[gid] {
			continue
		}
		seen[gid] = true
		if g, err := user.LookupGroupId(gid); err == nil {
			acc.groups = append(acc.groups, g.Name)
		}
	}
	return acc
}
