package app

import (
	"context"
	"strconv"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/engine"
	"github.com/stepd/stepd/daemon/internal/task"
)

func (b *backend) Tasks(_ context.Context, query api.TaskQuery) (api.Page[api.Task], error) {
	page := api.Page[api.Task]{Items: []api.Task{}}
	list, err := b.engine.ListTasks(engine.TaskQuery{
		Name: query.Name, Status: query.Status, CreatedBy: query.CreatedBy, Starter: query.Starter, Schedule: query.Schedule,
		Result: query.Result, Sort: query.Sort, After: query.After, Limit: pageSize(query.Limit),
	})
	if err != nil {
		return page, apiError(err)
	}
	now := b.now()
	for _, item := range list.Items {
		at, err := b.standing(&item.Task)
		if err != nil {
			return page, apiError(err)
		}
		page.Items = append(page.Items, taskJSON(&item.Task, item.Last, b.firstRun(&item.Task, at, now), now))
	}
	page.Next, page.Total = list.Next, &list.Total
	return page, nil
}

func (b *backend) Runs(_ context.Context, query api.RunQuery) (api.Page[api.Run], error) {
	page := api.Page[api.Run]{Items: []api.Run{}}
	var before uint64
	if query.After != "" {
		var err error
		if before, err = strconv.ParseUint(query.After, 10, 64); err != nil || before == 0 {
			return page, noPlace(query.After)
		}
	}
	runs, next, err := b.engine.ListRuns(engine.RunQuery{
		Task: query.Task, Status: query.Status, Trigger: query.Trigger, StartedBy: query.StartedBy, Schedule: query.Schedule,
		Batch: query.Batch, Since: query.Since, Until: query.Until, Before: task.RunID(before), Limit: pageSize(query.Limit),
	})
	if err != nil {
		return page, apiError(err)
	}
	for _, run := range runs {
		page.Items = append(page.Items, runJSON(run, b.now()))
	}
	if next > 0 {
		page.Next = strconv.FormatUint(uint64(next), 10)
	}
	return page, nil
}
