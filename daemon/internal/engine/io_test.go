package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"encoding/json"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Outputs are kept with the completion of the step, not before, and not those
// of an attempt that failed.
func TestOutputsComeWithCompletion(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 1)))
	w.clock.leap = true
	read := func(x *exec, step, name string) (string, error) {
		items, next, err := x.Inputs(step, name, "")
		if err != nil || len(items) == 0 {
			return "", err
		}
		if next != "" || len(items) != 1 || items[0].Step != step {
			t.Errorf("inputs of %s: %v, next %q", step, items, next)
		}
		return string(items[0].Value), nil
	}
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if err := x.Output(fmt.Sprintf("try%d", x.n), raw("1")); err != nil {
			t.Error(err)
		}
		if err := x.Output("v", raw(itoa(uint64(x.n)))); err != nil {
			t.Error(err)
		}
		if v, err := read(x, "a", "v"); v != "" || err != nil {
			t.Errorf("an output is seen before the step completed: %q, %v", v, err)
		}
		if x.n == 1 {
			return faulty
		}
		return done
	})
	w.ctrl.on("b", func(x *exec) task.Outcome {
		for name, want := range map[string]string{"v": "2", "try2": "1", "try1": "", "none": ""} {
			if v, err := read(x, "a", name); v != want || err != nil {
				t.Errorf("output %s is %q, %v, want %q", name, v, err, want)
			}
		}
		for _, step := range []string{"none", "none/c1", "c", ""} {
			if _, _, err := x.Inputs(step, "v", ""); !errors.Is(err, task.ErrNotFound) {
				t.Errorf("inputs of step %q: %v", step, err)
			}
		}
		return done
	})
	id := w.submit("t")
	w.ends(id, task.RunCompleted)
	got := map[string]string{}
	err := w.e.Outputs(w.run(id).Run, func(step, name string, value json.RawMessage) { got[step+"."+name] = string(value) })
	if err != nil || len(got) != 2 || got["a.v"] != "2" {
		t.Errorf("outputs %v, %v", got, err)
	}
}

func TestALaterStepIsNoInput(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("b", 1)))
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if _, _, err := x.Inputs("b", "v", ""); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("inputs of a later step: %v", err)
		}
		return done
	})
	w.ends(w.submit("t"), task.RunCompleted)
}

// The outputs of planned steps come in pages, each of them once, in order.
func TestInputsOfPlannedStepsComeInPages(t *testing.T) {
	const n = 40
	w := started(t, parallel(4, def("t", step("p", 0), step("z", 1))))
	w.ctrl.plansInto("p", into(n, nil))
	w.ctrl.on("p/*", func(x *exec) task.Outcome {
		value := raw(fmt.Sprintf(`"%s %s"`, x.Step, strings.Repeat("x", 30<<10)))
		if err := errors.Join(x.Output("part", value), x.Output("other", raw("1"))); err != nil {
			t.Error(err)
		}
		return done
	})
	w.ctrl.on("z", func(x *exec) task.Outcome {
		var all []task.Input
		pages, after := 0, ""
		for {
			items, next, err := x.Inputs("p", "part", after)
			if err != nil {
				t.Error(err)
			}
			size := 0
			for _, i := range items {
				size += len(i.Value)
			}
			if size > 3<<20 {
				t.Errorf("a page of %d bytes", size)
			}
			all, pages = append(all, items...), pages+1
			if after = next; next == "" || pages > n {
				break
			}
		}
		if len(all) != n || pages < 2 {
			t.Errorf("%d inputs in %d pages", len(all), pages)
		}
		for i, in := range all {
			if want := fmt.Sprintf("p/c%d", i+1); in.Step != want || !strings.HasPrefix(string(in.Value), `"`+want+" ") {
				t.Errorf("input %d is of %s, %.10s", i, in.Step, in.Value)
			}
		}
		one, _, err := x.Inputs("p/c7", "part", "")
		if err != nil || len(one) != 1 || one[0].Step != "p/c7" {
			t.Errorf("one planned step: %v, %v", one, err)
		}
		if _, _, err := x.Inputs("p/none", "part", ""); !errors.Is(err, task.ErrNotFound) {
			t.Errorf("a planned step that is not there: %v", err)
		}
		if _, _, err := x.Inputs("p", "part", "x"); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("a page that is not there: %v", err)
		}
		return done
	})
	w.ends(w.submit("t"), task.RunCompleted)
}

// What a controller says has bounds, and one that goes over them breaks
// nothing but its own call.
func TestWhatAControllerSaysHasBounds(t *testing.T) {
	w := started(t, def("t", step("a", 0), step("p", 1), step("q", 2)))
	w.clock.leap = true
	long := strings.Repeat("ü", 1<<20)
	w.ctrl.on("a", func(x *exec) task.Outcome {
		if x.n == 1 {
			return task.Outcome{Kind: task.OutcomeFailed, Message: long}
		}
		for what, err := range map[string]error{
			"checkpoint": x.Reporter.Checkpoint(make([]byte, task.MaxCheckpoint+1)),
			"output":     x.Output("o", make([]byte, task.MaxOutput+1)),
			"name":       x.Output("a/b", raw("1")),
		} {
			if err == nil {
				t.Errorf("%s: too much was accepted", what)
			}
		}
		if err := x.Reporter.Checkpoint(make([]byte, task.MaxCheckpoint)); err != nil {
			t.Error(err)
		}
		full := raw(`"` + strings.Repeat("x", task.MaxOutput-2) + `"`)
		for i := range 3 {
			if err := x.Output(fmt.Sprint("o", i), full); err != nil {
				t.Error(err)
			}
			if err := x.Output(fmt.Sprint("o", i), full); err != nil { // in its own place
				t.Error(err)
			}
		}
		if err := x.Output("o3", full); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("outputs over the sum: %v", err)
		}
		return task.Outcome{Kind: task.OutcomeCompleted, Message: long}
	})
	w.ctrl.plansInto("p", func(x *exec, add func([]task.PlannedStep) error) task.Outcome {
		o := into(1, nil)(x, add)
		o.Message = long
		return o
	})
	w.ctrl.plansInto("q", func(x *exec, add func([]task.PlannedStep) error) task.Outcome {
		return task.Outcome{Kind: task.OutcomeCompleted, Message: long}
	})
	id := w.submit("t")
	w.ends(id, task.RunCompleted)
	for name, s := range w.steps(id) {
		if len(s.Message) > task.MaxMessage {
			t.Errorf("%s kept a message of %d bytes", name, len(s.Message))
		}
	}
	// A message that was cut is still text.
	if m := w.steps(id)["a"].Message; !strings.HasSuffix(m, "ü...") {
		t.Errorf("the message ends in %q", m[len(m)-6:])
	}
}
