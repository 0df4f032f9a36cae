package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

const (
	completed = stepdv1.Result_STATUS_COMPLETED
	failed    = stepdv1.Result_STATUS_FAILED
	cancelled = stepdv1.Result_STATUS_CANCELLED
)

// step is one Execute under way.
type step struct {
	server *server
	stream stepdv1.Plugin_ExecuteServer
	start  *stepdv1.Start
	n      int
}

func (s *step) result(status stepdv1.Result_Status, message string) error {
	return s.send(&stepdv1.ExecuteResponse_Result{Result: &stepdv1.Result{Status: status, Message: message}})
}

func (s *step) done() error { return s.result(completed, "") }

// send takes the inside of a message, whose type the generated code hides.
func (s *step) send(body any) error {
	m := &stepdv1.ExecuteResponse{}
	switch b := body.(type) {
	case *stepdv1.ExecuteResponse_Log:
		m.Body = b
	case *stepdv1.ExecuteResponse_Progress:
		m.Body = b
	case *stepdv1.ExecuteResponse_Checkpoint:
		m.Body = b
	case *stepdv1.ExecuteResponse_Output:
		m.Body = b
	case *stepdv1.ExecuteResponse_InputRequest:
		m.Body = b
	case *stepdv1.ExecuteResponse_Result:
		m.Body = b
	}
	return s.stream.Send(m)
}

func (s *step) log(text string) error {
	return s.send(&stepdv1.ExecuteResponse_Log{Log: &stepdv1.Log{Level: stepdv1.Log_LEVEL_INFO, Message: text}})
}

func (s *step) output(name, value string) error {
	return s.send(&stepdv1.ExecuteResponse_Output{Output: &stepdv1.Output{Name: name, Value: []byte(value)}})
}

// cancel waits for the daemon's word.
func (s *step) cancel() (*stepdv1.Cancel, error) {
	for {
		m, err := s.stream.Recv()
		if err != nil {
			return nil, err
		}
		if c := m.GetCancel(); c != nil {
			return c, nil
		}
	}
}

// checkpoint saves and returns the error of the acknowledgement.
func (s *step) checkpoint(sequence uint64, data []byte) (string, error) {
	if err := s.send(&stepdv1.ExecuteResponse_Checkpoint{Checkpoint: &stepdv1.Checkpoint{Sequence: sequence, Data: data}}); err != nil {
		return "", err
	}
	for {
		m, err := s.stream.Recv()
		if err != nil {
			return "", err
		}
		if ack := m.GetCheckpointAck(); ack != nil {
			if ack.GetSequence() != sequence {
				return "", fmt.Errorf("checkpoint %d was acknowledged, %d was sent", ack.GetSequence(), sequence)
			}
			return ack.GetError(), nil
		}
	}
}

// spawn leaves a process behind that holds our stderr, in a session of its
// own or not.
func spawn(what string, setsid bool) error {
	cmd := exec.Command("/proc/self/exe", what)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: setsid}
	return cmd.Start()
}

// modes of Execute; README.md says what each has to lead to.
var modes = map[string]func(*step) error{
	// Proper ones, for comparison.
	"obey": func(s *step) error {
		if err := s.log("waiting"); err != nil {
			return err
		}
		c, err := s.cancel()
		if err != nil {
			return err
		}
		return s.result(cancelled, fmt.Sprintf("%v within %v", c.GetCause(), c.GetGrace().AsDuration()))
	},
	"fail":         func(s *step) error { return s.result(failed, "it did not work") },
	"permanent":    func(s *step) error { return s.result(stepdv1.Result_STATUS_FAILED_PERMANENT, "it never will") },
	"session-lost": func(s *step) error { return s.result(stepdv1.Result_STATUS_SESSION_LOST, "it is gone") },
	"retry-after": func(s *step) error {
		return s.send(&stepdv1.ExecuteResponse_Result{Result: &stepdv1.Result{Status: failed, Message: "busy", RetryAfter: durationpb.New(90 * time.Second)}})
	},
	"info": func(s *step) error {
		text, err := json.Marshal(map[string]any{"info": s.start.GetInfo(), "checkpoint": string(s.start.GetCheckpoint()), "has": s.start.GetHasCheckpoint()})
		if err != nil {
			return err
		}
		if err := s.output("info", string(text)); err != nil {
			return err
		}
		return s.done()
	},
	"environment": func(s *step) error {
		text, err := json.Marshal(os.Environ())
		if err != nil {
			return err
		}
		if err := s.output("environment", string(text)); err != nil {
			return err
		}
		return s.done()
	},
	"ended-runs": func(s *step) error {
		s.server.mu.Lock()
		text, err := json.Marshal(append([]string{}, s.server.ended...))
		s.server.mu.Unlock()
		if err != nil {
			return err
		}
		if err := s.output("ended", string(text)); err != nil {
			return err
		}
		return s.done()
	},
	"pid": func(s *step) error { return s.result(completed, fmt.Sprint(os.Getpid())) },
	"checkpoints": func(s *step) error {
		for i := range s.n {
			if text, err := s.checkpoint(uint64(i+1), fmt.Appendf(nil, `{"i":%d}`, i)); err != nil || text != "" {
				return errors.Join(err, s.result(failed, text))
			}
		}
		return s.done()
	},
	"inputs": func(s *step) error {
		var got []string
		for after, more := "", true; more; more = after != "" {
			if err := s.send(&stepdv1.ExecuteResponse_InputRequest{InputRequest: &stepdv1.InputRequest{Id: 1, Step: "tables", Name: "rows", After: after}}); err != nil {
				return err
			}
			m, err := s.stream.Recv()
			if err != nil {
				return err
			}
			reply := m.GetInputReply()
			if reply.GetError() != "" {
				return s.result(failed, reply.GetError())
			}
			for _, item := range reply.GetItems() {
				got = append(got, item.GetStep()+"="+string(item.GetValue()))
			}
			after = reply.GetNext()
		}
		return s.result(completed, strings.Join(got, " "))
	},

	// Ends that are none.
	"hang": func(*step) error { select {} },
	"hang-hard": func(s *step) error {
		signal.Ignore(syscall.SIGTERM)
		s.server.stubborn.Store(true)
		select {}
	},
	"finish-late": func(s *step) error {
		if _, err := s.cancel(); err != nil {
			return err
		}
		return s.result(completed, "was done anyway")
	},
	"cancel-itself": func(s *step) error { return s.result(cancelled, "I would rather not") },
	"crash": func(*step) error {
		// Descriptor 2 itself: go-plugin's os.Stderr would lose it.
		fmt.Fprintln(os.NewFile(2, "stderr"), "about to crash")
		os.Exit(3)
		return nil
	},
	"exit-0": func(*step) error {
		os.Exit(0)
		return nil
	},
	"panic": func(*step) error { panic("a bug in the controller") },
	"kill-itself": func(*step) error {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	},
	"freeze": func(s *step) error {
		if err := s.log("freezing"); err != nil {
			return err
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		select {}
	},
	"no-result":      func(*step) error { return nil },
	"grpc-error":     func(*step) error { return status.Error(codes.PermissionDenied, "not today") },
	"unknown-status": func(s *step) error { return s.result(77, "") },
	"two-results": func(s *step) error {
		if err := s.result(completed, "first"); err != nil {
			return err
		}
		return s.result(failed, "second")
	},
	"long-result": func(s *step) error { return s.result(failed, strings.Repeat("é", 100_000)) },
	"never-end": func(s *step) error {
		if err := s.done(); err != nil {
			return err
		}
		select {}
	},
	"cut-connection": func(s *step) error {
		s.server.stubborn.Store(true)
		s.server.grpc.Stop()
		select {}
	},

	// Too much, and nonsense.
	"huge-message": func(s *step) error {
		_ = s.log(strings.Repeat("x", 5<<20))
		<-s.stream.Context().Done()
		return nil
	},
	"bad-utf8": func(s *step) error {
		_ = s.stream.SendMsg(logWithText("a\xff\xfeb"))
		<-s.stream.Context().Done()
		return nil
	},
	"garbage": func(s *step) error {
		_ = s.stream.SendMsg(raw("\xff\xff\xff\xff"))
		<-s.stream.Context().Done()
		return nil
	},
	"empty-message": func(s *step) error {
		if err := s.stream.SendMsg(raw{}); err != nil {
			return err
		}
		return s.done()
	},
	"bad-json":      spoil("rows", `{"a":`),
	"bad-json-utf8": spoil("rows", "\"\xff\""),
	"output-name":   spoil("../../etc/passwd", "1"),
	"output-large":  spoil("rows", `"`+strings.Repeat("x", 70<<10)+`"`),
	"outputs-many": func(s *step) error {
		for i := range 5 {
			if err := s.output(fmt.Sprintf("o%d", i), `"`+strings.Repeat("x", 60<<10)+`"`); err != nil {
				return err
			}
		}
		return s.done()
	},
	// Broken contract, and deaf to being told.
	"bad-json-hang": func(s *step) error {
		_ = s.output("rows", "{")
		select {}
	},
	"checkpoint-large": func(s *step) error {
		text, err := s.checkpoint(1, make([]byte, 300<<10))
		if err != nil {
			return err
		}
		return s.result(completed, text)
	},
	"progress": func(s *step) error {
		for _, p := range []*stepdv1.Progress{
			{Done: math.NaN(), Total: math.NaN()}, {Done: math.Inf(1), Total: 10}, {Done: -5, Total: 10}, {Done: 500, Total: 10},
			{Done: 3, Total: 10}, {Done: 1, Total: math.Inf(-1)}, {Done: math.Inf(1)},
			{Done: 1, Total: 2, Note: strings.Repeat("n", 1<<20), Counters: many(1000)},
		} {
			if err := s.send(&stepdv1.ExecuteResponse_Progress{Progress: p}); err != nil {
				return err
			}
		}
		return s.done()
	},
	"log-flood": func(s *step) error {
		for i := range s.n {
			if err := s.log(fmt.Sprintf("line %d %s", i, strings.Repeat("x", 200))); err != nil {
				return err
			}
		}
		return s.done()
	},
	"log-nonsense": func(s *step) error {
		if err := s.send(&stepdv1.ExecuteResponse_Log{Log: &stepdv1.Log{Level: 42, Message: strings.Repeat("y", 1<<20), Fields: []byte(`{"a":`)}}); err != nil {
			return err
		}
		return s.done()
	},
	"stderr-flood": func(s *step) error {
		line := []byte(strings.Repeat("e", 200) + "\n")
		w := os.NewFile(2, "stderr")
		for range s.n {
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		return s.done()
	},
	"stderr-strange": func(s *step) error {
		w := os.NewFile(2, "stderr")
		_, err := fmt.Fprintf(w, "{\"@message\":5}\n{\"@level\":[1],\"@message\":{}}\n%s\n\x00\xff\xfe\nno end", strings.Repeat("z", 1<<20))
		if err != nil {
			return err
		}
		return s.done()
	},
	"stdout-flood": func(s *step) error {
		chunk := []byte(strings.Repeat("o", 1<<17))
		w := os.NewFile(1, "stdout")
		for range s.n {
			if _, err := w.Write(chunk); err != nil {
				return err
			}
			if _, err := os.Stdout.Write(chunk); err != nil { // go-plugin's own stream
				return err
			}
		}
		return s.done()
	},

	// Things left behind.
	"fork":      leave("stay", false),
	"setsid":    leave("stay", true),
	"daemonize": leave("daemonize", false),
	"setsid-crash": func(s *step) error {
		if err := spawn("stay", true); err != nil {
			return err
		}
		os.Exit(4)
		return nil
	},
	"sockets": func(s *step) error {
		for i := range 3 {
			l, err := net.Listen("unix", filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), fmt.Sprintf("left%d", i)))
			if err != nil {
				return err
			}
			l.(*net.UnixListener).SetUnlinkOnClose(false)
		}
		return s.done()
	},
}

// spoil sends one output and claims success all the same.
func spoil(name, value string) func(*step) error {
	return func(s *step) error {
		if err := s.output(name, value); err != nil {
			return err
		}
		return s.done()
	}
}

func leave(what string, setsid bool) func(*step) error {
	return func(s *step) error {
		if err := spawn(what, setsid); err != nil {
			return s.result(failed, err.Error())
		}
		return s.done()
	}
}

func many(n int) map[string]int64 {
	counters := map[string]int64{}
	for i := range n {
		counters[fmt.Sprintf("c%d", i)] = int64(i)
	}
	return counters
}
