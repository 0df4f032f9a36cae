package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/stepd/stepd/daemon/internal/api"
)

// Options say what a Server needs. Zero limits take the defaults.
type Options struct {
	Backend api.Backend
	Logger  hclog.Logger // nil: nothing is logged

	Authorizer Authorizer // nil: everyone is an administrator
	Auditor    Auditor    // nil: nothing is kept

	MaxConns          int           // 64; those above are told that the daemon is busy
	ReadHeaderTimeout time.Duration // 5 s
	ReadTimeout       time.Duration // 30 s for a whole request; streams have none
	WriteTimeout      time.Duration // 30 s for an answer, and for each piece of a stream
	IdleTimeout       time.Duration // 1 min between the requests of a connection
	Heartbeat         time.Duration // 15 s between the signs of life of a stream
}

// Server answers requests. Make it with New.
type Server struct {
	backend api.Backend
	log     hclog.Logger
	opts    Options
	http    *http.Server
	names   names

	stop       context.CancelCauseFunc // ends the contexts of all requests
	streams    context.Context         // of streams: they end first
	endStreams context.CancelFunc

	mu       sync.Mutex // guards closed, and Add against Wait
	closed   bool
	handlers sync.WaitGroup
}

var errStopping = &api.Error{Code: api.CodeStopping, Message: "the daemon is stopping"}

// New makes a server; it starts nothing.
func New(opts Options) *Server {
	def := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	def(&opts.ReadHeaderTimeout, 5*time.Second)
	def(&opts.ReadTimeout, 30*time.Second)
	def(&opts.WriteTimeout, 30*time.Second)
	def(&opts.IdleTimeout, time.Minute)
	def(&opts.Heartbeat, 15*time.Second)
	if opts.MaxConns <= 0 {
		opts.MaxConns = 64
	}
	if opts.Logger == nil {
		opts.Logger = hclog.NewNullLogger()
	}
	s := &Server{backend: opts.Backend, log: opts.Logger, opts: opts}
	base, stop := context.WithCancelCause(context.Background())
	s.stop = stop
	s.streams, s.endStreams = context.WithCancel(base)
	s.http = &http.Server{
		Handler:           s.guard(s.routes()),
		ReadHeaderTimeout: opts.ReadHeaderTimeout,
		ReadTimeout:       opts.ReadTimeout,
		IdleTimeout:       opts.IdleTimeout,
		MaxHeaderBytes:    api.MaxHeader,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withPeer,
		ErrorLog:          opts.Logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s
}

// Serve answers what comes in on l, which it closes, until Shutdown; then it
// returns nil. l comes from Listen or from whoever made the socket.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(&gate{Listener: l, limit: int64(s.opts.MaxConns)})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the socket: %w", err)
}

// Shutdown takes no more connections, ends all streams with a word that the
// daemon stops, and waits for the requests under way: when ctx ends first, their
// contexts are cancelled too and the error is that of ctx. No handler runs any
// more when it returns.
func (s *Server) Shutdown(ctx context.Context) error {
	s.endStreams()
	err := s.http.Shutdown(ctx)
	s.stop(errStopping)
	if err != nil {
		_ = s.http.Close()
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.handlers.Wait()
	if err != nil {
		return fmt.Errorf("wait for the requests under way: %w", err)
	}
	return nil
}

func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.handlers.Add(1)
	}
	return !s.closed
}

// guard is around all requests: it counts them, keeps a panic of one from the
// others, and turns the callers away who cannot be served.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			panic(http.ErrAbortHandler)
		}
		defer s.handlers.Done()
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			s.log.Error("a request ended in a panic", "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			if sw := w.(*statusWriter); sw.wrote {
				panic(http.ErrAbortHandler) // half an answer must not look whole
			}
			s.fail(w, &api.Error{Code: api.CodeInternal, Message: "the daemon hit a fault of its own", Hint: "its log has the details"})
		}()
		w = &statusWriter{ResponseWriter: w}
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		if p, _ := r.Context().Value(peerKey{}).(peer); p.busy {
			h.Set("Connection", "close")
			s.fail(w, &api.Error{Code: api.CodeBusy, Message: fmt.Sprintf("the daemon serves %d connections already", s.opts.MaxConns),
				Hint: "end some that follow runs or logs, and try again"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// statusWriter remembers whether an answer has begun.
type statusWriter struct {
	http.ResponseWriter
	wrote bool
}

func (w *statusWriter) WriteHeader(code int) {
	w.wrote = true
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	w.wrote = true
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
