package app

import "github.com/stepd/stepd/daemon/internal/task"

// schedulePort answers what a task file's parser asks about schedules.
type schedulePort struct{ *App }

func (schedulePort) Timezone() string { return "UTC" }

// Nothing computes due times yet, so no schedule is accepted.
func (schedulePort) Check(string, task.Schedule) []task.ScheduleFault {
	return []task.ScheduleFault{{Message: "is not supported by this build"}}
}

func (schedulePort) CheckExpect(task.Expect) []task.ScheduleFault {
	return []task.ScheduleFault{{Message: "is not supported by this build"}}
}
