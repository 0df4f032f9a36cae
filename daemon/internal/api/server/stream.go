package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
)

// firstBeat is when a stream that has nothing to say yet says that it is
// there. Until then an error can still become a proper answer.
const firstBeat = 200 * time.Millisecond

// source sends what a stream carries until there is no more, ctx ends or send
// fails.
type source func(ctx context.Context, send func(v any) error) error

func (s *Server) logs(r *request) (source, error) {
	ref, q, err := r.run()
	if err != nil {
		return nil, err
	}
	query := api.LogQuery{Follow: q.flag("follow"), Since: q.time("since"), Tail: q.number("tail", 0), Step: q["step"], Level: q["level"]}
	return func(ctx context.Context, send func(any) error) error {
		return s.backend.Logs(ctx, ref, query, func(line api.LogLine) error { return send(line) })
	}, nil
}

func (s *Server) watchRun(r *request) (source, error) {
	ref, _, err := r.run()
	if err != nil {
		return nil, err
	}
	return s.watch(ref), nil
}

func (s *Server) watchAll(r *request) (source, error) {
	_, err := r.reads()
	return s.watch(""), err
}

func (s *Server) watch(ref string) source {
	return func(ctx context.Context, send func(any) error) error {
		return s.backend.Watch(ctx, ref, func(e api.Event) error { return send(e) })
	}
}

// framing is how a stream looks on the wire.
type framing struct {
	contentType string
	item        func(id uint64, text []byte) []byte
	fault       func(text []byte) []byte
	beat        []byte
}

func framingOf(contentType string) framing {
	if contentType == api.TypeLines {
		return lines()
	}
	return events()
}

// lines has one JSON object a line. An empty line is a sign of life, and a last
// line with "error" says why the stream ended early.
func lines() framing {
	line := func(text []byte) []byte { return append(text, '\n') }
	return framing{
		contentType: api.TypeLines,
		item:        func(_ uint64, text []byte) []byte { return line(text) },
		fault:       line,
		beat:        []byte("\n"),
	}
}

// events has server-sent events with ids that count from 1. A stream begins with
// snapshots, so an id need not be given back.
func events() framing {
	return framing{
		contentType: api.TypeEvents,
		item: func(id uint64, text []byte) []byte {
			out := append([]byte("id: "), strconv.FormatUint(id, 10)...)
			out = append(out, "\ndata: "...)
			return append(append(out, text...), "\n\n"...)
		},
		fault: func(text []byte) []byte {
			return append(append([]byte("event: error\ndata: "), text...), "\n\n"...)
		},
		beat: []byte(": alive\n\n"),
	}
}

func (s *Server) carry(w http.ResponseWriter, r *request, src source, f framing) {
	ctx, cancel := context.WithCancelCause(r.ctx())
	defer cancel(nil)
	defer context.AfterFunc(s.streams, func() { cancel(errStopping) })()

	out := &streamWriter{w: w, rc: r.rc, framing: f, timeout: s.opts.WriteTimeout}
	beats := make(chan struct{})
	go func() {
		defer close(beats)
		out.keepAlive(ctx, s.opts.Heartbeat, cancel)
	}()
	defer func() { // a panic of the source must not leave it behind
		cancel(nil)
		<-beats
	}()
	err := src(ctx, out.send)
	cause := context.Cause(ctx)
	cancel(nil)
	<-beats

	if gone := r.ctx().Err() != nil && s.streams.Err() == nil; gone || errors.Is(err, errClient) || errors.Is(cause, errClient) {
		panic(http.ErrAbortHandler) // nobody is there to read an end
	}
	if cause != nil && err != nil {
		err = cause
	}
	switch {
	case err == nil && out.begun:
	case err == nil:
		_ = out.put(nil) // an empty stream is an answer too
	case !out.begun:
		s.fail(w, err)
	default:
		if text, e := api.Marshal(errorBody{s.apiError(err)}); e == nil {
			_ = out.put(f.fault(text))
		}
	}
}

// streamWriter writes the pieces of a stream, each with a deadline of its own,
// so that a client that does not read cannot hold the backend.
type streamWriter struct {
	framing
	timeout time.Duration
	rc      *http.ResponseController

	mu     sync.Mutex // between the source and the heartbeat
	w      http.ResponseWriter
	begun  bool
	last   time.Time // of the last piece
	nextID uint64
}

func (o *streamWriter) send(v any) error {
	text, err := api.Marshal(v)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.nextID++
	return o.putLocked(o.item(o.nextID, text))
}

func (o *streamWriter) put(piece []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.putLocked(piece)
}

var errClient = errors.New("the client does not take what it asked for")

func (o *streamWriter) putLocked(piece []byte) error {
	if !o.begun {
		o.begun = true
		o.w.Header().Set("Content-Type", o.contentType)
		o.w.WriteHeader(http.StatusOK)
	}
	o.last = time.Now()
	_ = o.rc.SetWriteDeadline(o.last.Add(o.timeout))
	if _, err := o.w.Write(piece); err != nil {
		return fmt.Errorf("%w: %w", errClient, err)
	}
	if err := o.rc.Flush(); err != nil {
		return fmt.Errorf("%w: %w", errClient, err)
	}
	return nil
}

// keepAlive writes a sign of life whenever nothing else was written for a
// while, until ctx ends. A client that does not take it ends the stream.
func (o *streamWriter) keepAlive(ctx context.Context, every time.Duration, cancel context.CancelCauseFunc) {
	timer := time.NewTimer(min(firstBeat, every))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		o.mu.Lock()
		wait := every
		var err error
		if idle := time.Since(o.last); o.begun && idle < every {
			wait = every - idle
		} else {
			err = o.putLocked(o.beat)
		}
		o.mu.Unlock()
		if err != nil {
			cancel(err)
			return
		}
		timer.Reset(wait)
	}
}
