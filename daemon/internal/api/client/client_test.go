package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/stepd/stepd/daemon/internal/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestADaemonThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	for path, want := range map[string]Why{
		filepath.Join(dir, "none"):         NoSocket,
		filepath.Join(dir, "no", "dir"):    NoSocket,
		filepath.Join(stale, "below-file"): NoSocket,
		stale:                              NobodyListens,
	} {
		c := &Client{Socket: path}
		_, err := c.Status(t.Context())
		d, ok := errors.AsType[*DownError](err)
		if !ok || d.Why != want || !strings.Contains(d.Error(), path) || !strings.Contains(d.Hint(), "stepd serve") {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		if err := c.Watch(t.Context(), "", func(api.Event) error { return nil }); !errors.As(err, &d) {
			t.Errorf("watch %s: %v", path, err)
		}
	}
}

func TestPermissionIsNotTheSameAsDown(t *testing.T) {
	// Root may connect to everything, so the kernel's answer is made up here.
	err := &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)}
	if d := down("/run/stepd/stepd.sock", err); d.Why != NotPermitted || strings.Contains(d.Hint(), "serve") {
		t.Errorf("%+v", d)
	}
}

func TestTheZeroValueKnowsWhereTheDaemonIs(t *testing.T) {
	if got := new(Client).socket(); got != api.DefaultSocket {
		t.Error(got)
	}
}

// strange answers each request with the same text and goes away.
func strange(t *testing.T, answer string) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = io.Copy(io.Discard, req.Body)
			}
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return &Client{Socket: path}
}

func TestStrangeAnswers(t *testing.T) {
	whole := func(status, body string) string {
		return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
	}
	for answer, says := range map[string]string{
		"":                                      "broke off",
		"SSH-2.0-OpenSSH\r\n":                   "broke off",
		whole("200 OK", "<p>"):                  "none of stepd's",
		whole("200 OK", `{"schema":2,"pid":1}`): "speaks schema 2",
		whole("200 OK", `{"schema":1,"pid":"x"}`):           "does not fit",
		whole("502 Bad Gateway", "<p>"):                     "502 Bad Gateway",
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{":     "broke off",
		whole("200 OK", "{\"schema\":1,\"pid\":5,\"x\":0}"): "",
	} {
		st, err := strange(t, answer).Status(t.Context())
		if says == "" {
			if err != nil || st.PID != 5 {
				t.Errorf("a field that is not known yet: %v", err)
			}
			continue
		}
		if b, ok := errors.AsType[*BrokenError](err); !ok || !strings.Contains(b.Error(), says) {
			t.Errorf("%q: %v, want %q", answer, err, says)
		}
	}
}

func TestAStreamThatIsCutIsNotWhole(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	line := "data: {\"schema\":1,\"type\":\"run\"}\n\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(line), line)
	for answer, whole := range map[string]bool{head + chunk: false, head + chunk + "0\r\n\r\n": true} {
		n := 0
		err := strange(t, answer).Watch(t.Context(), "", func(api.Event) error { n++; return nil })
		if _, broken := errors.AsType[*BrokenError](err); n != 1 || broken == whole {
			t.Errorf("%d events, %v; whole: %t", n, err, whole)
		}
	}
}

func TestCancelledIsTheContextsError(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := strange(t, "").Status(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestARequestThatIsTooLargeIsNotSent(t *testing.T) {
	c := &Client{Socket: filepath.Join(t.TempDir(), "none")}
	_, err := c.Validate(t.Context(), []api.TaskFile{{Data: strings.Repeat("x", api.MaxFiles)}})
	if e, ok := errors.AsType[*api.Error](err); !ok || e.Code != api.CodeTooLarge {
		t.Error(err)
	}
}
