package admin

import (
	"os"
	"os/user"
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestAccountNames(t *testing.T) {
	t.Parallel()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	acc := lookUp(ids{os.Getuid(), os.Getgid()})
	if acc.name != me.Username || !slices.Contains(acc.groups, group.Name) {
		t.Errorf("account %+v, want %s with the group %s", acc, me.Username, group.Name)
	}
	const nobody = 3999999999
	if got := lookUp(ids{nobody, nobody}); got.name != "uid "+strconv.Itoa(nobody) || got.groups != nil {
		t.Errorf("an unknown account is %+v", got)
	}
}

func TestAccountsAreBelievedForAWhile(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := NewPeers()
	p.now = func() time.Time { return now }
	id := ids{os.Getuid(), os.Getgid()}
	p.known[id] = account{name: "remembered", at: now}
	now = now.Add(identityTTL - time.Second)
	if got := p.account(id).name; got != "remembered" {
		t.Errorf("within the time: %s", got)
	}
	now = now.Add(2 * time.Second)
	if got := p.account(id).name; got == "remembered" {
		t.Error("an old look-up is still believed")
	}
}
