package backup

import (
	"bytes"
	"context"
	"crypto/hmac"
	"fmt"
	"slices"
)

// claimingCodec is a Codec whose encodings still tell, once they are damaged, what they were made of.
type claimingCodec interface {
	// Claims says whether a damaged encoding was made of data: by the checksum of the content that it carries, or by
	// the content, where only the checksum is damaged.
	Claims(enc, data []byte) bool
}

// mendWAL stores an archived file anew whose object is damaged. It does so only where what is left of that object proves
// that it was made of the same bytes: otherwise another server's file could be lost for good.
func (c Cluster) mendWAL(ctx context.Context, key, name string, data, enc []byte, damage error) error {
	there, err := ReadAll(ctx, c.Store, key, maxSegment+1<<20)
	if err != nil {
		return err
	}
	if !c.madeOf(name, there, data) {
		return fmt.Errorf("%w; it cannot be told any more whether it was the same file, and nothing was overwritten: where no other server archives to the same place, delete %s from the repository and archive it again", damage, key)
	}
	return c.Store.Put(ctx, key, bytes.NewReader(enc), PutOptions{})
}

// madeOf says whether a damaged object was made of data.
func (c Cluster) madeOf(name string, there, data []byte) bool {
	if h, err := decodeSealHeader(there); err == nil {
		return hmac.Equal(h.tag, c.walTag(name, data))
	}
	return slices.ContainsFunc(c.Codecs, func(codec Codec) bool { // its magic number may be what is damaged
		claiming, ok := codec.(claimingCodec)
		return ok && claiming.Claims(there, data)
	})
}
