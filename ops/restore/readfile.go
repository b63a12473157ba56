package restore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/covetpy/covet/ops/backup"
)

// ReadFile reads one file of a backup, which must be small.
func ReadFile(ctx context.Context, c backup.Cluster, m *backup.Manifest, item int) (string, error) {
	var out []byte
	for _, e := range m.Items[item].Extents {
		u := m.Units[e.Unit]
		enc, err := readUnit(ctx, c, m, u)
		if err != nil {
			return "", fmt.Errorf("read %s of backup %s: %w", m.Items[item].Path, m.ID, err)
		}
		raw, err := c.ReadUnit(m, int(e.Unit), enc, nil)
		if err != nil {
			return "", fmt.Errorf("read %s of backup %s: %w", m.Items[item].Path, m.ID, err)
		}
		out = append(out, raw[e.Off:e.Off+e.Len]...)
	}
	return string(out), nil
}

// readUnit brings one unit as it is in its pack.
func readUnit(ctx context.Context, c backup.Cluster, m *backup.Manifest, u backup.Unit) (enc []byte, err error) {
	rc, err := c.OpenPack(ctx, m.Packs[u.Pack].Name, int64(u.Off), int64(u.Len))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	enc = make([]byte, u.Len)
	_, err = io.ReadFull(rc, enc)
	return enc, err
}
