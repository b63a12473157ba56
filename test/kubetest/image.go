package kubetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// Image is a container image around one static program, made without a registry.
type Image struct {
	Name    string            // example.test/web:v1
	Program string            // its path on this machine; in the image it is /app
	Files   map[string]string // more files: path in the image, path on this machine
	Args    []string          // after /app
	Env     []string          // NAME=VALUE
}

type blob struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	data        []byte
}

func blobOf(mediaType string, data []byte) blob {
	return blob{MediaType: mediaType, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(data)), Size: len(data), data: data}
}

// Write writes the image as an OCI archive into a folder and returns its digest (of its manifest), "sha256:…".
func (i Image) Write(dir string) (digest string, err error) {
	layer, err := i.layer()
	if err != nil {
		return "", fmt.Errorf("image %s: %w", i.Name, err)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(layer); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/app"}, "Cmd": i.Args, "Env": i.Env, "WorkingDir": "/", "User": "65532:65532"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{blobOf("", layer).Digest}},
	})
	if err != nil {
		return "", err
	}
	blobs := []blob{
		blobOf("application/vnd.oci.image.config.v1+json", config),
		blobOf("application/vnd.oci.image.layer.v1.tar+gzip", zipped.Bytes()),
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": blobs[0], "layers": blobs[1:],
	})
	if err != nil {
		return "", err
	}
	m := blobOf("application/vnd.oci.image.manifest.v1+json", manifest)
	blobs = append(blobs, m)
	return m.Digest, archive(filepath.Join(dir, strings.NewReplacer("/", "_", ":", "_").Replace(i.Name)+".tar"), i.entries(m), blobs)
}

// entries are the image's manifest under its name, and under the name with the digest, by which a release pins it.
func (i Image) entries(m blob) []blob {
	var out []blob
	for _, name := range []string{i.Name, i.Name[:strings.LastIndex(i.Name, ":")] + "@" + m.Digest} {
		m.Annotations = map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
		out = append(out, m)
	}
	return out
}

// layer is the image's file system.
func (i Image) layer() ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "tmp/", Mode: 0o1777, Typeflag: tar.TypeDir}); err != nil {
		return nil, err
	}
	files := map[string]string{"app": i.Program}
	for name, from := range i.Files {
		files[strings.TrimPrefix(path.Clean(name), "/")] = from
	}
	for name, from := range files {
		data, err := os.ReadFile(from)
		if err == nil {
			err = add(w, name, 0o755, data)
		}
		if err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

func add(w *tar.Writer, name string, mode int64, data []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(data)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

// archive writes an OCI layout as a tar file.
func archive(file string, manifests, blobs []blob) error {
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": manifests})
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := add(w, "oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	if err := add(w, "index.json", 0o644, index); err != nil {
		return err
	}
	for _, p := range blobs {
		if err := add(w, "blobs/sha256/"+strings.TrimPrefix(p.Digest, "sha256:"), 0o644, p.data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}
