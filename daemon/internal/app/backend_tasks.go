package app

import (
	"context"

	"github.com/stepd/stepd/daemon/internal/api"
)

func notBuilt() error {
	return &api.Error{Code: api.CodeInternal, Message: "this is not built yet"}
}

func (b *backend) Definition(context.Context, string) (api.Definition, error) {
	return api.Definition{}, notBuilt()
}
func (b *backend) Export(context.Context, string, int) (api.Page[api.Definition], error) {
	return api.Page[api.Definition]{}, notBuilt()
}
func (b *backend) CreateTask(context.Context, api.Caller, api.SaveRequest) (api.Saved, error) {
	return api.Saved{}, notBuilt()
}
func (b *backend) ReplaceTask(context.Context, api.Caller, string, api.SaveRequest) (api.Saved, error) {
	return api.Saved{}, notBuilt()
}
func (b *backend) PatchTask(context.Context, api.Caller, string, api.PatchRequest) (api.Saved, error) {
	return api.Saved{}, notBuilt()
}
func (b *backend) TaskSteps(context.Context, string) (api.Page[api.TaskStep], error) {
	return api.Page[api.TaskStep]{}, notBuilt()
}
func (b *backend) TaskStep(context.Context, string, string) (api.TaskStep, error) {
	return api.TaskStep{}, notBuilt()
}
func (b *backend) AddStep(context.Context, api.Caller, string, api.StepRequest) (api.Saved, error) {
	return api.Saved{}, notBuilt()
}
func (b *backend) PatchStep(context.Context, api.Caller, string, string, api.PatchRequest) (api.Saved, error) {
	return api.Saved{}, notBuilt()
}
func (b *backend) OrderSteps(context.Context, api.Caller, string, api.OrderRequest) (api.Saved, error) {
	return api.Saved{}, notBuilt()
}
func (b *backend) DeleteStep(context.Context, api.Caller, string, string, uint64) (api.Saved, error) {
	return api.Saved{}, notBuilt()
}
func (b *backend) Step(context.Context, string, string) (api.StepDetail, error) {
	return api.StepDetail{}, notBuilt()
}
