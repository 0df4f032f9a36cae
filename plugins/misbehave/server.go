package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
)

type server struct {
	stepdv1.UnimplementedPluginServer
	startMode string
	grpc      *grpc.Server
	stubborn  atomic.Bool // stay alive when the server has stopped

	mu    sync.Mutex
	ended []string // runs
}

const schema = `{"type":"object","properties":{"mode":{"type":"string"},"n":{"type":"integer"},"password":{"type":"string","secret":true}}}`

func (s *server) Describe(ctx context.Context, _ *stepdv1.DescribeRequest) (*stepdv1.DescribeResponse, error) {
	info := &stepdv1.ControllerInfo{Name: "run", Summary: "Misbehave as told.", Effect: stepdv1.Effect_EFFECT_IDEMPOTENT,
		SettingsSchema: []byte(schema), Plans: true}
	answer := &stepdv1.DescribeResponse{Name: "misbehave", Version: "1.0.0", Controllers: []*stepdv1.ControllerInfo{info}}
	if strings.HasPrefix(s.startMode, "steps") {
		info.Plans = false
	}
	switch s.startMode {
	case "describe-hang":
		<-ctx.Done()
		return nil, ctx.Err()
	case "describe-nothing":
		answer.Controllers = nil
	case "describe-schema":
		info.SettingsSchema = []byte(`["no object"]`)
	case "describe-effect":
		info.Effect = 99
	case "describe-name":
		info.Name = "../run"
	case "describe-twice":
		answer.Controllers = append(answer.Controllers, info)
	case "describe-large":
		answer.Version = string(make([]byte, 5<<20))
	}
	return answer, nil
}

func (s *server) EndRun(_ context.Context, r *stepdv1.EndRunRequest) (*stepdv1.EndRunResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id := r.GetRunId(); id != "" {
		s.ended = append(s.ended, id)
	}
	return &stepdv1.EndRunResponse{}, nil
}

// settings of a step.
type settings struct {
	Mode     string `json:"mode"`
	N        int    `json:"n"`
	Password string `json:"password"`
}

func (s *server) Execute(stream stepdv1.Plugin_ExecuteServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	start := first.GetStart()
	var set settings
	if err := json.Unmarshal(start.GetSettings(), &set); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	st := &step{server: s, stream: stream, start: start, n: set.N}
	if set.Mode == "" || set.Mode == "none" {
		return st.result(stepdv1.Result_STATUS_COMPLETED, "")
	}
	if leak, known := leaks[set.Mode]; known {
		return leak(st, set.Password)
	}
	act, known := modes[set.Mode]
	if !known {
		return st.result(stepdv1.Result_STATUS_FAILED_PERMANENT, "no such mode: "+set.Mode)
	}
	return act(st)
}
