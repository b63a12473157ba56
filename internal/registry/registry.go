// Package registry asks container registries which digest an image's tag means now, by the OCI distribution protocol.
package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Client asks registries. Credentials are those that `docker login` left in ~/.docker/config.json.
type Client struct {
	HTTP *http.Client
	auth func(host string) string // the value of a Basic Authorization header, or empty
}

// timeout bounds one question with everything it needs.
const timeout = 8 * time.Second

// New makes a client that takes credentials from DOCKER_CONFIG or ~/.docker.
func New() *Client {
	return &Client{HTTP: &http.Client{Timeout: timeout}, auth: dockerAuth}
}

// accepted are the manifests that a digest may be of: an index first, so that every architecture runs the same.
const accepted = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, " +
	"application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"

// Resolve returns the digest that the image's tag means now, as sha256:….
func (c *Client) Resolve(ctx context.Context, image string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	host, name, tag := parse(image)
	u := url.URL{Scheme: scheme(host), Host: host, Path: "/v2/" + name + "/manifests/" + tag}
	status, header, err := c.head(ctx, u.String(), c.basic(host))
	if err != nil {
		return "", err
	}
	if status == http.StatusUnauthorized {
		token, err := c.token(ctx, header.Get("WWW-Authenticate"), host)
		if err != nil {
			return "", err
		}
		if status, header, err = c.head(ctx, u.String(), "Bearer "+token); err != nil {
			return "", err
		}
	}
	switch status {
	case http.StatusOK:
	case http.StatusNotFound:
		return "", fmt.Errorf("registry %s has no %s:%s", host, name, tag)
	default:
		return "", fmt.Errorf("registry %s answers %d %s", host, status, http.StatusText(status))
	}
	digest := header.Get("Docker-Content-Digest")
	if !strings.HasPrefix(digest, "sha256:") {
		return "", fmt.Errorf("registry %s does not tell the digest of %s:%s", host, name, tag)
	}
	return digest, nil
}

// parse parts an image's name as container runtimes do: what has a dot, a colon or is localhost before the first slash is a
// registry, and all else is Docker Hub's.
func parse(image string) (host, name, tag string) {
	name = image
	if first, rest, ok := strings.Cut(image, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		host, name = first, rest
	}
	tag = "latest"
	if at := strings.LastIndex(name, ":"); at > strings.LastIndex(name, "/") {
		name, tag = name[:at], name[at+1:]
	}
	if host == "" || host == "docker.io" {
		host = "registry-1.docker.io"
		if !strings.Contains(name, "/") {
			name = "library/" + name
		}
	}
	return host, name, tag
}

// scheme is plain for registries on this machine, as container runtimes have it.
func scheme(host string) string {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if ip := net.ParseIP(name); name == "localhost" || ip != nil && ip.IsLoopback() {
		return "http"
	}
	return "https"
}

func (c *Client) basic(host string) string {
	if c.auth == nil {
		return ""
	}
	if v := c.auth(host); v != "" {
		return "Basic " + v
	}
	return ""
}

// head asks for a manifest without its content.
func (c *Client) head(ctx context.Context, target, authorization string) (status int, header http.Header, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, target, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Accept", accepted)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return 0, nil, unwrap(err)
	}
	return resp.StatusCode, resp.Header, resp.Body.Close()
}

// unwrap leaves out of an error the address, which is long and says nothing.
func unwrap(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return fmt.Errorf("the registry cannot be reached: %w", ue.Err)
	}
	return err
}

// maxToken bounds the answer of a token service.
const maxToken = 1 << 20

// token gets what a registry's challenge asks for.
func (c *Client) token(ctx context.Context, challenge, host string) (string, error) {
	realm, params := parseChallenge(challenge)
	if realm == "" {
		return "", fmt.Errorf("registry %s asks for a login: docker login %s", host, host)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, realm+"?"+params.Encode(), nil)
	if err != nil {
		return "", err
	}
	if basic := c.basic(host); basic != "" {
		req.Header.Set("Authorization", basic)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return "", unwrap(err)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxToken))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("registry %s refuses the login: %s (docker login %s)", host, resp.Status, host)
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return "", fmt.Errorf("registry %s: read the token: %w", host, err)
	}
	if answer.Token == "" {
		answer.Token = answer.AccessToken
	}
	return answer.Token, nil
}

// parseChallenge reads `Bearer realm="…",service="…",scope="…"`.
func parseChallenge(text string) (realm string, params url.Values) {
	kind, rest, _ := strings.Cut(text, " ")
	params = url.Values{}
	if !strings.EqualFold(kind, "Bearer") {
		return "", params
	}
	for rest != "" {
		var name, value string
		name, rest, _ = strings.Cut(rest, "=")
		rest = strings.TrimPrefix(rest, `"`)
		value, rest, _ = strings.Cut(rest, `"`)
		rest = strings.TrimLeft(rest, ", ")
		if name = strings.TrimSpace(name); name == "realm" {
			realm = value
		} else if name != "" {
			params.Set(name, value)
		}
	}
	return realm, params
}

// dockerAuth is what docker login left for a registry.
func dockerAuth(host string) string {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".docker")
	}
	raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return ""
	}
	return authIn(raw, host)
}

func authIn(raw []byte, host string) string {
	var cfg struct {
		Auths map[string]struct{ Auth, Username, Password string } `json:"auths"`
	}
	if json.Unmarshal(raw, &cfg) != nil {
		return ""
	}
	names := []string{host, "https://" + host, "https://" + host + "/v1/", "https://" + host + "/v2/"}
	if host == "registry-1.docker.io" {
		names = append(names, "docker.io", "index.docker.io", "https://index.docker.io/v1/")
	}
	for _, n := range names {
		a, ok := cfg.Auths[n]
		switch {
		case ok && a.Auth != "":
			return a.Auth
		case ok && a.Username != "":
			return base64.StdEncoding.EncodeToString([]byte(a.Username + ":" + a.Password))
		}
	}
	return ""
}
