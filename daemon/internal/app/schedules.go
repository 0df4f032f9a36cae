package app

import (
	"context"
	"time"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/task"
	"github.com/stepd/stepd/daemon/internal/taskfile"
)

// schedulePort answers what a task file's parser asks about schedules.
type schedulePort struct{ *App }

func (p schedulePort) Timezone() string { return p.options.Config.Timezone }

// Nothing computes due times yet, so no schedule is accepted.
func (schedulePort) Check(string, task.Schedule) []task.ScheduleFault {
	return []task.ScheduleFault{{Message: "is not supported by this build"}}
}

func (schedulePort) CheckExpect(task.Expect) []task.ScheduleFault {
	return []task.ScheduleFault{{Message: "is not supported by this build"}}
}

func (b *backend) Pause(ctx context.Context, who api.Caller, name string, request api.PauseRequest) (api.Task, error) {
	p := task.Pause{By: who.Name, Reason: request.Reason}
	if request.Until != nil {
		p.Until = *request.Until
	}
	if request.For != "" {
		d, err := taskfile.ParseDuration(request.For)
		if err != nil {
			return api.Task{}, &api.Error{Code: api.CodeInvalid, Message: "for " + err.Error()}
		}
		p.Until = time.Now().Add(d)
	}
	return b.setPause(ctx, name, &p)
}

func (b *backend) Resume(ctx context.Context, _ api.Caller, name string) (api.Task, error) {
	return b.setPause(ctx, name, nil)
}

func (b *backend) setPause(ctx context.Context, name string, p *task.Pause) (api.Task, error) {
	t, err := b.engine.SetPause(ctx, name, p)
	if err != nil {
		return api.Task{}, apiError(err)
	}
	return taskJSON(t, nil), nil
}

func noSchedules() error {
	return &api.Error{Code: api.CodeState, Message: "schedules are not supported by this build"}
}

func (b *backend) Next(context.Context, string, int) (api.Page[api.Upcoming], error) {
	return api.Page[api.Upcoming]{}, noSchedules()
}

func (b *backend) History(context.Context, api.HistoryQuery) (api.Page[api.Slot], error) {
	return api.Page[api.Slot]{}, noSchedules()
}

func (b *backend) Explain(context.Context, api.ExplainRequest) (api.Explanation, error) {
	return api.Explanation{}, noSchedules()
}

func (b *backend) ExplainTask(context.Context, api.ExplainQuery) (api.Explanations, error) {
	return api.Explanations{}, noSchedules()
}
