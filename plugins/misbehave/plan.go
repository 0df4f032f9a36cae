package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

// Plan splits the step into n steps, in the way that the mode says.
func (s *server) Plan(request *stepdv1.PlanRequest, stream stepdv1.Plugin_PlanServer) error {
	var set settings
	if err := json.Unmarshal(request.GetSettings(), &set); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	steps := func(list ...*stepdv1.PlannedStep) error {
		return stream.Send(&stepdv1.PlanResponse{Body: &stepdv1.PlanResponse_Steps{Steps: &stepdv1.PlannedSteps{Steps: list}}})
	}
	session, result := "", &stepdv1.Result{Status: completed}
	switch set.Mode {
	case "plan-bad-name":
		_ = steps(&stepdv1.PlannedStep{Name: "good"}, &stepdv1.PlannedStep{Name: "a/b"})
	case "plan-decreasing":
		_ = steps(&stepdv1.PlannedStep{Name: "a", Order: 2}, &stepdv1.PlannedStep{Name: "b", Order: 1})
	case "plan-settings":
		_ = steps(&stepdv1.PlannedStep{Name: "a", Settings: []byte(`[1]`)})
	case "plan-large":
		_ = steps(&stepdv1.PlannedStep{Name: "a", Settings: []byte(`{"x":"` + strings.Repeat("x", 300<<10) + `"}`)})
	case "plan-crash":
		_ = steps(&stepdv1.PlannedStep{Name: "a"})
		os.Exit(5)
	case "plan-no-end":
		return steps(&stepdv1.PlannedStep{Name: "a"})
	case "plan-hang":
		<-stream.Context().Done()
		return nil
	case "plan-session":
		session = "snapshot-1"
		fallthrough
	default:
		if strings.HasPrefix(set.Mode, "leak-") {
			if set.Mode == "leak-plan-log" {
				for _, text := range ways(set.Password) {
					_ = stream.Send(&stepdv1.PlanResponse{Body: &stepdv1.PlanResponse_Log{Log: &stepdv1.Log{Message: text}}})
				}
			}
			var list []*stepdv1.PlannedStep
			list, session, result = leakPlan(set.Mode, set.Password)
			if len(list) > 0 && steps(list...) != nil {
				return nil
			}
		}
		for i := range set.N {
			if err := steps(&stepdv1.PlannedStep{Name: fmt.Sprintf("part%d", i), Settings: []byte(`{"mode":"none"}`), Order: int32(i), Weight: 2}); err != nil {
				return err
			}
		}
	}
	return stream.Send(&stepdv1.PlanResponse{Body: &stepdv1.PlanResponse_Done{Done: &stepdv1.PlanDone{
		Session: session, Result: result}}})
}
