package backup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Repository is where the backups and the WAL of services live.
type Repository struct {
	Store  Store
	Codecs Codecs  // that a reader understands
	Where  string  // for messages: file:///var/backups, s3://bucket/prefix
	Sealer *Sealer // encrypts; nil: nothing is encrypted
}

// Cluster is the part of a repository that belongs to one database cluster of one service. A service has several when
// its database was set up anew: their backups and WAL have nothing to do with each other.
type Cluster struct {
	Repository
	Service string
	System  SystemID
	part    string // of the keys: empty, or logicalPart
}

var serviceName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// CheckService says what is wrong with a service's name, where something is.
func CheckService(name string) error {
	if !serviceName.MatchString(name) {
		return fmt.Errorf("service %q: a name has lower-case letters, digits, dots, dashes and underscores, at most 63, the first a letter or digit", name)
	}
	return nil
}

// Cluster returns the part for one database system.
func (r Repository) Cluster(service string, id SystemID) Cluster {
	return Cluster{Repository: r, Service: service, System: id}
}

// key builds a key in the cluster's part.
func (c Cluster) key(parts ...string) string {
	return c.Service + "/" + c.System.String() + "/" + c.part + strings.Join(parts, "/")
}

// markerKey is an object that says that the cluster exists, so that it is found without listing everything.
func (c Cluster) markerKey() string { return c.Service + "/systems/" + c.System.String() }

// mark leaves the marker.
func (c Cluster) mark(ctx context.Context) error {
	err := c.Store.Put(ctx, c.markerKey(), strings.NewReader(""), PutOptions{IfAbsent: true})
	if errors.Is(err, ErrExists) {
		return nil
	}
	return err
}

// Systems lists the database systems of a service that have, or had, backups.
func (r Repository) Systems(ctx context.Context, service string) ([]SystemID, error) {
	var ids []SystemID
	prefix := service + "/systems/"
	for o, err := range r.Store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		id, err := ParseSystemID(strings.TrimPrefix(o.Key, prefix))
		if err != nil {
			return nil, fmt.Errorf("%s: unexpected object %s: %w", r.Where, o.Key, err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// DamagedManifestError reports a backup whose manifest can't be read. Other backups may be good.
type DamagedManifestError struct {
	ID  string
	Err error
}

func (e *DamagedManifestError) Error() string { return "backup " + e.ID + ": " + e.Err.Error() }
func (e *DamagedManifestError) Unwrap() error { return e.Err }

// Backups returns the heads of all complete backups, the oldest first. Those whose manifest is damaged are left out and
// joined into the error as DamagedManifestErrors: the list is then still good.
func (c Cluster) Backups(ctx context.Context) ([]Head, error) {
	var heads []Head
	var damaged []error
	prefix := c.key("backups") + "/"
	for o, err := range c.Store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		id, isManifest := strings.CutSuffix(strings.TrimPrefix(o.Key, prefix), "/manifest")
		if !isManifest {
			continue
		}
		h, err := c.head(ctx, o.Key)
		switch {
		case errors.Is(err, ErrNotFound): // expired meanwhile
		case errors.Is(err, ErrDamaged):
			damaged = append(damaged, &DamagedManifestError{id, err})
		case err != nil:
			return nil, err
		case (h.Logical != nil) != c.logical():
			damaged = append(damaged, &DamagedManifestError{id, fmt.Errorf("%w: it lies among backups of another kind", ErrDamaged)})
		default:
			heads = append(heads, h)
		}
	}
	slices.SortFunc(heads, func(a, b Head) int { return cmp.Or(a.Stopped.Compare(b.Stopped), cmp.Compare(a.ID, b.ID)) })
	return heads, errors.Join(damaged...)
}

func (c Cluster) head(ctx context.Context, key string) (Head, error) {
	r, err := c.Store.Get(ctx, key, 0, 64<<10)
	if err != nil {
		return Head{}, err
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return Head{}, err
	}
	return DecodeHead(b)
}

func (c Cluster) manifestKey(id string) string { return c.key("backups", id, "manifest") }

func (c Cluster) packKey(name string) string { return c.key("packs", name) }

// Manifest reads one backup's manifest. Fails with a SealedError where it is encrypted and the identity is missing.
func (c Cluster) Manifest(ctx context.Context, id string) (*Manifest, error) {
	b, err := c.readManifest(ctx, id)
	if err != nil {
		return nil, err
	}
	m, err := DecodeManifest(b, c.Codecs)
	if sealed(err) {
		return nil, fmt.Errorf("read backup %s: %w", id, err)
	}
	if err != nil {
		return nil, &DamagedManifestError{id, err}
	}
	c.Sealer.learn(m.keys)
	if m.ID != id || m.System != c.System || m.Service != c.Service || (m.Logical != nil) != c.logical() {
		return nil, &DamagedManifestError{id, fmt.Errorf("%w: it is that of backup %s of %s, system %s", ErrDamaged, m.ID, m.Service, m.System)}
	}
	return m, nil
}

func (c Cluster) readManifest(ctx context.Context, id string) ([]byte, error) {
	b, err := ReadAll(ctx, c.Store, c.manifestKey(id), maxBody)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("there is no backup %s of %s in %s: %w", id, c.Service, c.Where, err)
	}
	return b, err
}

// packsOf reads which packs a backup needs; that needs no identity.
func (c Cluster) packsOf(ctx context.Context, id string) ([]Pack, error) {
	b, err := c.readManifest(ctx, id)
	if err != nil {
		return nil, err
	}
	packs, err := DecodePacks(b, c.Codecs)
	if err != nil {
		return nil, &DamagedManifestError{id, err}
	}
	return packs, nil
}

// writeManifest makes the backup exist.
func (c Cluster) writeManifest(ctx context.Context, m *Manifest, codec Codec) error {
	b, err := EncodeManifest(m, codec, c.Sealer)
	if err != nil {
		return err
	}
	return c.Store.Put(ctx, c.manifestKey(m.ID), bytes.NewReader(b), PutOptions{IfAbsent: true})
}

// ReadUnit reads and checks one unit of a manifest, given the bytes it has in its pack, into dst[:0].
func (c Cluster) ReadUnit(m *Manifest, unit int, enc, dst []byte) ([]byte, error) {
	u := m.Units[unit]
	name := m.Packs[u.Pack].Name
	where := fmt.Sprintf("pack %s at %d", name, u.Off)
	codec, err := c.Codecs.Sniff(enc)
	if err != nil {
		return nil, damaged(where, err)
	}
	if cap(dst) < int(u.Raw) {
		dst = make([]byte, 0, u.Raw)
	}
	raw, err := decodeTrusting(codec, dst[:0:u.Raw], enc)
	if err != nil {
		return nil, damaged(where, err)
	}
	if len(raw) != int(u.Raw) || XXH64(raw) != u.Hash {
		return nil, fmt.Errorf("%w: %s: the content doesn't match its hash", ErrDamaged, where)
	}
	return raw, nil
}

// OpenPack reads a pack from off for n bytes; a negative n reads to the end.
func (c Cluster) OpenPack(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	r, err := c.Store.Get(ctx, c.packKey(name), off, n)
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("%w: pack %s is missing from %s: %w", ErrDamaged, name, c.Where, err)
	}
	return r, err
}
