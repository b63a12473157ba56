// Package static serves a folder's files as they are, and as they were compressed beforehand.
package static

import (
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
)

// Files serves the files of a folder. It never leaves the folder, whatever a path or a symbolic link says (os.Root), lists
// nothing, and serves neither files nor folders whose names begin with a dot.
type Files struct {
	root *os.Root
}

// Open makes it for a folder.
func Open(dir string) (*Files, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("serve static files: %w", err)
	}
	return &Files{root: root}, nil
}

// Close gives the folder up.
func (f *Files) Close() error { return f.root.Close() }

// encoding is one of the compressed forms a file may lie beside itself in.
type encoding struct{ name, suffix string }

// encodings are in order of preference: what is smaller comes first.
var encodings = []encoding{{"br", ".br"}, {"gzip", ".gz"}}

// Lifetimes of what was fetched. A file whose name says what is in it never changes; any other is asked about each time.
const (
	immutable  = "public, max-age=31536000, immutable"
	revalidate = "public, no-cache"
)

// Serve answers a request with the file of that name, a path relative to the folder. It returns fs.ErrNotExist, and has
// answered nothing, where there is none.
func (f *Files) Serve(w http.ResponseWriter, r *http.Request, name string) error {
	if !servable(name) {
		return fs.ErrNotExist
	}
	file, info, err := f.open(name)
	if err != nil {
		return err
	}
	h := w.Header()
	kind := mime.TypeByExtension(path.Ext(name))
	if kind == "" {
		kind = "application/octet-stream" // nothing is guessed from what is in it
	}
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", lifetime(name))
	chosen, varies, etag := file, false, tag(info, "")
	for _, e := range encodings {
		packed, packedInfo, err := f.open(name + e.suffix)
		if err != nil {
			continue
		}
		varies = true
		if chosen != file || !accepts(r.Header["Accept-Encoding"], e.name) {
			closeFile(packed)
			continue
		}
		chosen, etag = packed, tag(packedInfo, "-"+e.name)
		h.Set("Content-Encoding", e.name)
	}
	if varies {
		h.Add("Vary", "Accept-Encoding")
	}
	h.Set("Etag", etag)
	http.ServeContent(w, r, name, info.ModTime(), chosen)
	closeFile(file)
	if chosen != file {
		closeFile(chosen)
	}
	return nil
}

// closeFile closes a file that was read: nothing can have been lost.
func closeFile(f *os.File) { _ = f.Close() }

// servable says whether a name may be that of a file: no way up, nothing hidden.
func servable(name string) bool {
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\x00\\") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") {
			return false
		}
	}
	return true
}

// open opens a plain file. Anything else, such as a folder or a pipe, is not there.
func (f *Files) open(name string) (*os.File, fs.FileInfo, error) {
	info, err := f.root.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return nil, nil, fs.ErrNotExist
	}
	file, err := f.root.Open(name)
	if err != nil {
		return nil, nil, fs.ErrNotExist
	}
	if info, err = file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, nil, errors.Join(fs.ErrNotExist, file.Close())
	}
	return file, info, nil
}

// tag is a validator of a file: it changes whenever the file does.
func tag(info fs.FileInfo, suffix string) string {
	return `"` + strconv.FormatInt(info.ModTime().UnixNano(), 36) + "-" + strconv.FormatInt(info.Size(), 36) + suffix + `"`
}

func lifetime(name string) string {
	if Fingerprinted(name) {
		return immutable
	}
	return revalidate
}

// Fingerprinted says whether a file's name holds a digest of what is in it: a part between dots or hyphens of at least
// eight hexadecimal digits, some of them letters and some not, as in app.3f9a1c07.js and app-3f9a1c07b2.css.
func Fingerprinted(name string) bool {
	base := path.Base(name)
	ext := strings.LastIndexByte(base, '.')
	if ext < 0 {
		return false
	}
	for i, part := range strings.FieldsFunc(base, func(r rune) bool { return r == '.' || r == '-' }) {
		if i > 0 && len(part) >= 8 && digest(part) {
			return true
		}
	}
	return false
}

func digest(s string) bool {
	var letters, digits bool
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits = true
		case c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
			letters = true
		default:
			return false
		}
	}
	return letters && digits
}

// accepts says whether a client takes an encoding (RFC 9110, 12.5.3): by its name, or by * where it is not named.
func accepts(header []string, name string) bool {
	named, anything := -1.0, -1.0
	for _, value := range header {
		for item := range strings.SplitSeq(value, ",") {
			coding, params, _ := strings.Cut(item, ";")
			q := 1.0
			if key, v, ok := strings.Cut(strings.TrimSpace(params), "="); ok && strings.EqualFold(strings.TrimSpace(key), "q") {
				parsed, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
				if err != nil {
					parsed = 0
				}
				q = parsed
			}
			switch coding = strings.TrimSpace(coding); {
			case strings.EqualFold(coding, name):
				named = q
			case coding == "*":
				anything = q
			}
		}
	}
	if named >= 0 {
		return named > 0
	}
	return anything > 0
}
