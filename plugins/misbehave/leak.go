package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

// ways in which programs come to print a secret.
func ways(secret string) []string {
	quoted, _ := json.Marshal(map[string]string{"password": secret})
	return []string{
		secret, "Access denied for root:" + secret + "@shop", fmt.Sprintf("%q", secret), fmt.Sprintf("%+v", struct{ Password string }{secret}),
		string(quoted), fmt.Sprintf("%q", quoted), fmt.Sprintf("%x", secret), fmt.Sprint([]byte(secret)), url.QueryEscape(secret),
		"mysql://" + url.UserPassword("root", secret).String() + "@shop/db", "IDENTIFIED BY '" + strings.ReplaceAll(secret, "'", "''") + "'",
		"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("root:"+secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
	}
}

// leaks are modes that let the secret out of which the settings have one.
var leaks = map[string]func(s *step, secret string) error{
	"leak-digest": func(s *step, secret string) error {
		return s.result(completed, fmt.Sprintf("%x", sha256.Sum256([]byte(secret))))
	},
	"leak-log": func(s *step, secret string) error {
		if err := logAll(s, secret); err != nil {
			return err
		}
		return s.done()
	},
	"leak-progress": func(s *step, secret string) error {
		if err := progress(s, secret); err != nil {
			return err
		}
		return s.done()
	},
	"leak-message":   func(s *step, secret string) error { return s.result(completed, strings.Join(ways(secret), "\n")) },
	"leak-error":     func(s *step, secret string) error { return s.result(failed, strings.Join(ways(secret), "\n")) },
	"leak-cancelled": func(s *step, secret string) error { return s.result(cancelled, secret) },
	"leak-permanent": func(s *step, secret string) error {
		return s.result(stepdv1.Result_STATUS_FAILED_PERMANENT, strings.Join(ways(secret), "\n"))
	},
	"leak-session-lost": func(s *step, secret string) error {
		return s.result(stepdv1.Result_STATUS_SESSION_LOST, secret)
	},
	"leak-grpc-error": func(_ *step, secret string) error { return status.Error(codes.Internal, secret) },
	// Cut in the middle of the secret, wherever that is.
	"leak-cut": func(s *step, secret string) error {
		for _, limit := range []int{1 << 10, 4 << 10, 16 << 10} {
			for back := range len(secret) + 8 {
				text := strings.Repeat("x", limit-back) + secret + secret
				if err := s.log(text); err != nil {
					return err
				}
				if limit == 1<<10 {
					if err := s.send(&stepdv1.ExecuteResponse_Progress{Progress: &stepdv1.Progress{Note: text}}); err != nil {
						return err
					}
				}
			}
		}
		return s.result(failed, strings.Repeat("x", 4<<10-10)+secret+secret)
	},
	"leak-output": func(s *step, secret string) error {
		text, err := json.Marshal(map[string]any{"all": ways(secret), secret: []byte(secret), "bytes": []int{int(secret[0])}})
		if err != nil {
			return err
		}
		if err := s.output("all", string(text)); err != nil {
			return err
		}
		return s.done()
	},
	"leak-output-bytes": func(s *step, secret string) error {
		if err := s.output("bytes", strings.ReplaceAll(fmt.Sprint([]byte(secret)), " ", ",")); err != nil {
			return err
		}
		return s.done()
	},
	"leak-output-name": func(s *step, secret string) error {
		for _, name := range []string{url.PathEscape(secret), secret, strings.Repeat("x", 90) + secret} {
			if err := s.output(name, "1"); err != nil {
				return err
			}
		}
		return s.done()
	},
	"leak-checkpoint": func(s *step, secret string) error {
		text, err := s.checkpoint(1, []byte(`{"token":"`+secret+`"}`))
		if err != nil {
			return err
		}
		if text == "" {
			return s.result(completed, "it was kept")
		}
		return s.result(failed, text)
	},
	"leak-stdio": func(s *step, secret string) error {
		if err := printAll(secret); err != nil {
			return err
		}
		return s.done()
	},
	"leak-crash": func(_ *step, secret string) error {
		w := os.NewFile(2, "stderr")
		fmt.Fprintln(w, strings.Repeat("x", 290)+secret) // the tail of stderr has short lines
		fmt.Fprintln(w, secret)
		os.Exit(3)
		return nil
	},
	"leak-panic": func(_ *step, secret string) error { panic(errors.New("cannot log in with " + secret)) },
	// All at once, and then it waits.
	"leak-hold": func(s *step, secret string) error {
		if err := errors.Join(logAll(s, secret), progress(s, secret), printAll(secret)); err != nil {
			return err
		}
		_, _ = s.checkpoint(1, []byte(secret))
		if err := s.log("holding"); err != nil {
			return err
		}
		if _, err := s.cancel(); err != nil {
			return err
		}
		return s.result(cancelled, secret)
	},
}

func logAll(s *step, secret string) error {
	for _, text := range ways(secret) {
		fields, err := json.Marshal(map[string]any{"text": text, text: []any{1, []byte(text), map[string]string{"deep": text}}})
		if err != nil {
			return err
		}
		err = s.send(&stepdv1.ExecuteResponse_Log{Log: &stepdv1.Log{Level: stepdv1.Log_LEVEL_WARN, Message: text, Fields: fields}})
		if err != nil {
			return err
		}
	}
	return nil
}

func progress(s *step, secret string) error {
	for _, text := range ways(secret) {
		p := &stepdv1.Progress{Done: 1, Total: 2, Note: text, Counters: map[string]int64{secret: 1, text: 2}}
		if err := s.send(&stepdv1.ExecuteResponse_Progress{Progress: p}); err != nil {
			return err
		}
	}
	return nil
}

// printAll prints to the descriptors and through go-plugin.
func printAll(secret string) error {
	text := strings.Join(ways(secret), "\n") + "\n" + strings.Repeat("x", 16<<10-20) + secret + "\n"
	var errs []error
	for _, descriptor := range []int{1, 2} {
		_, err := syscall.Write(descriptor, []byte(text))
		errs = append(errs, err)
	}
	_, err1 := os.Stdout.WriteString(text)
	_, err2 := os.Stderr.WriteString(text)
	return errors.Join(append(errs, err1, err2)...)
}

// leakPlan answers with steps and a session for modes that leak in plans, and
// with an error that ends the plan.
func leakPlan(mode, secret string) (steps []*stepdv1.PlannedStep, session string, result *stepdv1.Result) {
	result = &stepdv1.Result{Status: completed}
	settings := func(v map[string]any) []byte {
		raw, _ := json.Marshal(v)
		return raw
	}
	switch mode {
	case "leak-plan-name":
		steps = []*stepdv1.PlannedStep{{Name: secret}}
	case "leak-plan-inside":
		steps = []*stepdv1.PlannedStep{{Name: "one", Settings: settings(map[string]any{"mode": "none", "dsn": "root:" + secret + "@shop"})}}
	case "leak-plan-key":
		steps = []*stepdv1.PlannedStep{{Name: "one", Settings: settings(map[string]any{"mode": "none", secret: 1})}}
	case "leak-plan-other":
		steps = []*stepdv1.PlannedStep{{Name: "one", Settings: []byte(`{"mode":"leak-digest","password":{"secret":"other"}}`)}}
	case "leak-plan-whole":
		steps = []*stepdv1.PlannedStep{{Name: "one", Settings: settings(map[string]any{"mode": "leak-digest", "password": secret})},
			{Name: "two", Settings: settings(map[string]any{"mode": "leak-hold", "password": secret}), Order: 1}}
	case "leak-plan-session":
		session = secret
	case "leak-plan-message":
		result.Message = secret
	case "leak-plan-error":
		result = &stepdv1.Result{Status: failed, Message: secret}
	}
	return steps, session, result
}
