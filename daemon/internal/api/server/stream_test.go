package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
	"github.com/stepd/stepd/daemon/internal/api/server"
)

func TestEventsAreServerSentEvents(t *testing.T) {
	b := &backend{watch: func(_ context.Context, send func(api.Event) error) error {
		return errors.Join(send(anEvent), send(anEvent), &api.Error{Code: api.CodeStopping, Message: "bye"})
	}}
	_, path := serve(t, optionsFor(b))
	resp := get(t, path, "GET", "/v1/events", "")
	if resp.header.Get("Content-Type") != "text/event-stream" {
		t.Error(resp.header)
	}
	for _, want := range []string{"id: 1\ndata: {\"schema\":1,\"type\":\"snapshot\"", "\n\nid: 2\ndata: ", "\n\nevent: error\ndata: {\"schema\":1,\"error\":{\"code\":\"stopping\""} {
		if !strings.Contains(resp.body, want) {
			t.Errorf("no %q in\n%s", want, resp.body)
		}
	}
}

func TestAStreamOutlivesTheReadTimeoutAndShowsThatItIsAlive(t *testing.T) {
	const read = 30 * time.Millisecond
	ctxs := make(chan context.Context, 1)
	b := &backend{watch: func(ctx context.Context, _ func(api.Event) error) error {
		ctxs <- ctx
		<-ctx.Done()
		return ctx.Err()
	}}
	_, path := serve(t, server.Options{Backend: b, ReadTimeout: read, Heartbeat: read})
	conn := dial(t, path)
	_, _ = io.WriteString(conn, "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
	r := bufio.NewReader(conn)
	for alive := 0; alive < 5; {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, ": alive") {
			alive++
		}
	}
	ctx := <-ctxs
	if ctx.Err() != nil {
		t.Fatal("the stream was ended")
	}
	_ = conn.Close()
	<-ctx.Done() // or the test times out: the backend learns that the client left
}

func TestAStreamEndsWithItsClient(t *testing.T) {
	ended := make(chan error, 1)
	b := &backend{logs: func(ctx context.Context, send func(api.LogLine) error) error {
		err := send(aLine)
		<-ctx.Done()
		ended <- ctx.Err()
		return err
	}}
	c := start(t, b)
	stop := errors.New("enough")
	if err := c.Logs(t.Context(), "backup", api.LogQuery{Follow: true}, func(api.LogLine) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v, want the callback's own error", err)
	}
	<-ended
}

func TestAClientThatDoesNotReadIsLeft(t *testing.T) {
	left := make(chan error, 1)
	b := &backend{logs: func(_ context.Context, send func(api.LogLine) error) error {
		line := aLine
		line.Message = strings.Repeat("x", 64<<10)
		for {
			if err := send(line); err != nil {
				left <- err
				return err
			}
		}
	}}
	_, path := serve(t, server.Options{Backend: b, WriteTimeout: 100 * time.Millisecond})
	conn := dial(t, path)
	_, _ = io.WriteString(conn, "GET /v1/runs/backup/1/logs?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	<-left
}

func TestAPanicIsAnsweredAndHarmsNobodyElse(t *testing.T) {
	b := &backend{
		hook: func(context.Context) { panic("oh") },
		watch: func(_ context.Context, send func(api.Event) error) error {
			_ = send(anEvent)
			panic("oh")
		},
	}
	c := start(t, b)
	_, err := c.Status(t.Context())
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != api.CodeInternal {
		t.Errorf("%v, want internal", err)
	}
	err = c.Watch(t.Context(), "", func(api.Event) error { return nil })
	if _, ok := errors.AsType[*client.BrokenError](err); !ok {
		t.Errorf("half a stream: %v, want a *BrokenError", err)
	}
	if _, err := c.Plugins(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestShutdownSaysGoodbyeToStreamsAndWaitsForRequests(t *testing.T) {
	inside, goOn := make(chan struct{}), make(chan struct{})
	b := &backend{
		hook: func(context.Context) { close(inside); <-goOn },
		watch: func(ctx context.Context, send func(api.Event) error) error {
			_ = send(anEvent)
			<-ctx.Done()
			return ctx.Err()
		},
	}
	s, path := serve(t, optionsFor(b))
	c := &client.Client{Socket: path}
	watch, status := make(chan error, 1), make(chan error, 1)
	seen := make(chan struct{})
	go func() {
		watch <- c.Watch(t.Context(), "", func(api.Event) error { close(seen); return nil })
	}()
	go func() { _, err := c.Status(t.Context()); status <- err }()
	<-seen
	<-inside
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }()
	err := <-watch // streams end while the request is still under way
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != api.CodeStopping {
		t.Errorf("the stream: %v, want stopping", err)
	}
	close(goOn)
	if err := <-status; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	_, err = c.Status(t.Context())
	if d, ok := errors.AsType[*client.DownError](err); !ok || d.Why != client.NoSocket {
		t.Errorf("afterwards: %v, want no socket", err)
	}
}

func TestShutdownEndsRequestsThatDoNot(t *testing.T) {
	inside := make(chan struct{})
	b := &backend{hook: func(ctx context.Context) { close(inside); <-ctx.Done() }}
	s, path := serve(t, optionsFor(b))
	status := make(chan error, 1)
	go func() { _, err := (&client.Client{Socket: path}).Status(t.Context()); status <- err }()
	<-inside
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-status; err == nil {
		t.Error("the request was answered as if nothing was")
	}
}

func TestASilentDaemonIsGivenUp(t *testing.T) {
	b := &backend{watch: func(ctx context.Context, send func(api.Event) error) error {
		_ = send(anEvent)
		<-ctx.Done()
		return ctx.Err()
	}}
	_, path := serve(t, optionsFor(b))
	c := &client.Client{Socket: path, Silence: 50 * time.Millisecond}
	err := c.Watch(t.Context(), "", func(api.Event) error { return nil })
	if _, ok := errors.AsType[*client.BrokenError](err); !ok {
		t.Errorf("%v, want a *BrokenError", err)
	}
}

func TestAnEmptyLogIsAnAnswer(t *testing.T) {
	b := &backend{logs: func(context.Context, func(api.LogLine) error) error { return nil }}
	_, path := serve(t, optionsFor(b))
	if resp := get(t, path, http.MethodGet, "/v1/runs/backup/1/logs", ""); resp.status != 200 || resp.body != "" || resp.header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%+v", resp)
	}
}
