package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

// Client talks to one daemon. The zero value talks to the one at
// api.DefaultSocket. Its methods may be called from several goroutines.
type Client struct {
	// Socket is the path of the daemon's socket, "" for api.DefaultSocket.
	Socket string
	// Silence is how long a stream may say nothing at all, not even that it is
	// alive, before it is given up: 0 means 45 s.
	Silence time.Duration
	// ActFor is the user for whom an administrator asks, "" for oneself.
	ActFor string

	once sync.Once
	http *http.Client
}

const (
	dialTimeout = 3 * time.Second
	// answerTimeout leaves the daemon time to start plugins, which it asks
	// about settings.
	answerTimeout = 2 * time.Minute
	maxAnswer     = 64 << 20
)

func (c *Client) socket() string { return cmp.Or(c.Socket, api.DefaultSocket) }

func (c *Client) do(req *http.Request) (*http.Response, error) {
	c.once.Do(func() {
		c.http = &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				d := net.Dialer{Timeout: dialTimeout}
				conn, err := d.DialContext(ctx, "unix", c.socket())
				if err != nil {
					return nil, down(c.socket(), err)
				}
				return conn, nil
			},
			// A connection to a socket costs nothing; none is kept, so nothing
			// has to be closed and a daemon that restarts is not met half-open.
			DisableKeepAlives:     true,
			DisableCompression:    true,
			ResponseHeaderTimeout: answerTimeout,
		}}
	})
	resp, err := c.http.Do(req)
	if err == nil {
		return resp, nil
	}
	if ctxErr := req.Context().Err(); ctxErr != nil {
		return nil, ctxErr
	}
	if d, ok := errors.AsType[*DownError](err); ok {
		return nil, d
	}
	return nil, &BrokenError{Socket: c.socket(), Err: inner(err)}
}

// inner takes away what http.Client puts around an error: a method and a URL
// that say nothing about a socket.
func inner(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// open sends a request and returns the answer's body when it is no error. body,
// when not nil, is sent as JSON.
func (c *Client) open(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		if most := api.BodyLimit(path); len(text) > most {
			return nil, &api.Error{Code: api.CodeTooLarge,
				Message: fmt.Sprintf("the request is %d KiB large, the daemon takes %d KiB", len(text)>>10, most>>10),
				Hint:    "send the files in several requests"}
		}
		payload = bytes.NewReader(text)
	}
	target := "http://stepd" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, payload)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", api.TypeJSON)
	}
	if c.ActFor != "" {
		req.Header.Set(api.HeaderActFor, c.ActFor)
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.fault(ctx, resp)
}

// fault is the error that an answer carries.
func (c *Client) fault(ctx context.Context, resp *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.broken(ctx, err)
	}
	var body api.ErrorBody
	if json.Unmarshal(text, &body) != nil || body.Error == nil {
		return &BrokenError{Socket: c.socket(), Err: fmt.Errorf("%s: the answer is none of stepd's", resp.Status)}
	}
	return body.Error
}

func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &BrokenError{Socket: c.socket(), Err: err}
}

// call sends a request and decodes the answer.
func call[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) (T, error) {
	var v T
	resp, err := c.open(ctx, method, path, query, body)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return v, c.broken(ctx, err)
	}
	if err := decode(text, &v); err != nil {
		return v, &BrokenError{Socket: c.socket(), Err: err}
	}
	return v, nil
}

// decode refuses what a newer daemon means differently. Fields that it does not
// know it lets pass.
func decode(text []byte, v any) error {
	var head struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return fmt.Errorf("the answer is none of stepd's: %w", err)
	}
	if head.Schema != api.Schema {
		return fmt.Errorf("the daemon speaks schema %d and this program %d: use the stepd that the daemon was started with", head.Schema, api.Schema)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("the answer does not fit: %w", err)
	}
	return nil
}

func page(after string, limit int) url.Values {
	q := url.Values{}
	set(q, "after", after)
	number(q, "limit", uint64(max(0, limit)))
	return q
}

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

func number(q url.Values, name string, value uint64) {
	if value > 0 {
		q.Set(name, strconv.FormatUint(value, 10))
	}
}

func moment(q url.Values, name string, value time.Time) {
	if !value.IsZero() {
		q.Set(name, value.Format(time.RFC3339Nano))
	}
}
