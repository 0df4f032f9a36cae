package client

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

const defaultSilence = 45 * time.Second

var errSilent = errors.New("it says nothing any more")

// Watch calls send with the events of one run until the run has ended, or with
// those of all (ref "") until ctx ends. It begins with snapshots. nil means
// that the daemon had nothing more to say; a stream that is cut off is a
// *BrokenError, or an *api.Error with CodeStopping when the daemon said goodbye.
func (c *Client) Watch(ctx context.Context, ref string, send func(api.Event) error) error {
	path := api.RouteWatch
	if ref != "" {
		path = api.RunPath(api.RouteRunWatch, ref)
	}
	return c.stream(ctx, path, nil, func(line []byte) ([]byte, bool) {
		return bytes.CutPrefix(line, []byte("data: "))
	}, func(text []byte) error {
		var e api.Event
		if err := json.Unmarshal(text, &e); err != nil {
			return &BrokenError{Socket: c.socket(), Err: err}
		}
		return send(e)
	})
}

// Logs calls send with the lines of a run's log, with follow until the run has
// ended. Its errors are those of Watch.
func (c *Client) Logs(ctx context.Context, ref string, query api.LogQuery, send func(api.LogLine) error) error {
	q := url.Values{}
	if query.Follow {
		q.Set("follow", "1")
	}
	moment(q, "since", query.Since)
	number(q, "tail", uint64(max(0, query.Tail)))
	set(q, "step", query.Step)
	set(q, "level", query.Level)
	return c.stream(ctx, api.RunPath(api.RouteLogs, ref), q, func(line []byte) ([]byte, bool) {
		return line, len(line) > 0
	}, func(text []byte) error {
		var l api.LogLine
		if err := json.Unmarshal(text, &l); err != nil {
			return &BrokenError{Socket: c.socket(), Err: err}
		}
		return send(l)
	})
}

// stream calls item for each piece that carries JSON: data finds it in a line.
func (c *Client) stream(ctx context.Context, path string, q url.Values, data func([]byte) ([]byte, bool), item func([]byte) error) error {
	sctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := c.open(sctx, http.MethodGet, path, q, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	silence := cmp.Or(c.Silence, defaultSilence)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()

	r := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		watchdog.Reset(silence) // item may take its time; that is not the daemon's silence
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if errors.Is(context.Cause(sctx), errSilent) {
				err = errSilent
			}
			return c.broken(ctx, err)
		}
		watchdog.Stop()
		text, ok := data(bytes.TrimRight(line, "\r\n"))
		if !ok {
			continue
		}
		var fault api.ErrorBody
		if err := decode(text, &fault); err != nil {
			return &BrokenError{Socket: c.socket(), Err: err}
		}
		if fault.Error != nil {
			return fault.Error
		}
		if err := item(text); err != nil {
			return err
		}
	}
}
