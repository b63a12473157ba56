package backupcmd

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/covetpy/covet/ops/restore"
)

// ownerOf is who gets the files and runs the server; nil: whoever runs this.
func (f *restoreFlags) ownerOf() (*restore.Owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	return lookup(f.owner)
}

func lookup(name string) (*restore.Owner, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, usage(fmt.Errorf("--owner: %w", err))
	}
	o := &restore.Owner{}
	var err1, err2 error
	o.UID, err1 = strconv.Atoi(u.Uid)
	o.GID, err2 = strconv.Atoi(u.Gid)
	groups, err := u.GroupIds() // such as the one that may read the server's TLS key
	if err := errors.Join(err1, err2, err); err != nil {
		return nil, fmt.Errorf("--owner %s: %w", name, err)
	}
	for _, g := range groups {
		n, err := strconv.Atoi(g)
		if err != nil {
			return nil, fmt.Errorf("--owner %s: group %q: %w", name, g, err)
		}
		o.Groups = append(o.Groups, n)
	}
	return o, nil
}

// credential makes a process the owner's; nil leaves it as it is.
func credential(o *restore.Owner) *syscall.Credential {
	if o == nil {
		return nil
	}
	c := &syscall.Credential{Uid: uint32(o.UID), Gid: uint32(o.GID)}
	for _, g := range o.Groups {
		c.Groups = append(c.Groups, uint32(g))
	}
	return c
}
