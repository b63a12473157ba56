// Package adminclient reaches covetd through the operations API on its unix socket (see server/admin), as a console.Port.
package adminclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/covetpy/covet/ops/console"
)

const (
	dialTimeout = 2 * time.Second
	silence     = 10 * time.Second // of a stream, after which covetd is taken for dead; heartbeats come every 3 s
	maxAnswer   = 64 << 20
	maxLine     = 16 << 20
)

// Client is a console.Port over covetd's unix socket. It may be used by many goroutines at once.
type Client struct {
	socket  string
	http    *http.Client
	silence time.Duration
}

var _ console.Port = (*Client)(nil)

// New makes a client of the covetd that listens on the socket. Nothing is dialled before something is asked.
func New(socket string) *Client {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &Client{
		socket:  socket,
		silence: silence,
		http: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", socket)
			},
			DisableCompression: true,
			MaxIdleConns:       4,
			IdleConnTimeout:    time.Minute,
		}},
	}
}

// Socket is the path of the socket that the client dials.
func (c *Client) Socket() string { return c.socket }

// Ask implements console.Port.
func (c *Client) Ask(ctx context.Context, op console.Op, q console.Query, out any) error {
	req, err := c.request(ctx, http.MethodGet, string(op), EncodeQuery(q), nil)
	if err != nil {
		return err
	}
	return c.exchange(req, "asking for "+string(op), out)
}

// Do implements console.Port.
func (c *Client) Do(ctx context.Context, op console.Op, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return &console.Error{Code: console.CodeInternal, Message: fmt.Sprintf("%s: the request cannot be written as JSON: %v", op, err)}
	}
	req, err := c.request(ctx, http.MethodPost, string(op), nil, body)
	if err != nil {
		return err
	}
	return c.exchange(req, "commanding "+string(op), out)
}

func (c *Client) request(ctx context.Context, method, op string, q url.Values, body []byte) (*http.Request, error) {
	u := url.URL{Scheme: "http", Host: "covetd", Path: "/v1/" + op, RawQuery: q.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, &console.Error{Code: console.CodeUsage, Message: fmt.Sprintf("%s is not an operation: %v", op, err)}
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// exchange sends the request and reads the whole answer into out. What was being done is named in its errors.
func (c *Client) exchange(req *http.Request, doing string, out any) (err error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(req, doing, err)
	}
	defer func() {
		if cerr := resp.Body.Close(); cerr != nil && err == nil {
			err = c.unreachable(req, doing, cerr)
		}
	}()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return c.unreachable(req, doing, err)
	}
	if len(raw) > maxAnswer {
		return &console.Error{Code: console.CodeInternal, Message: fmt.Sprintf("%s: covetd's answer is larger than %d MiB", doing, maxAnswer>>20)}
	}
	if resp.StatusCode != http.StatusOK {
		return refusal(doing, resp.Status, raw)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return foreign(doing, err)
	}
	return nil
}

// refusal is the error that covetd answered with.
func refusal(doing, status string, raw []byte) error {
	var e console.Error
	if err := json.Unmarshal(raw, &e); err != nil || e.Code == "" {
		return &console.Error{
			Code:    console.CodeInternal,
			Message: fmt.Sprintf("%s: answered with %s: %.200q", doing, status, raw),
			Hint:    "is it covetd that listens on the socket? see `covetctl config check`",
		}
	}
	return &e
}

// foreign is the error of an answer that this version cannot read.
func foreign(doing string, err error) error {
	return &console.Error{
		Code:    console.CodeInternal,
		Message: fmt.Sprintf("%s: cannot read covetd's answer: %v", doing, err),
		Hint:    "covetctl and covetd may be of different versions; see `covetctl config check`",
	}
}
