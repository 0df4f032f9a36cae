package schedule

import (
	"github.com/stepd/stepd/daemon/internal/task"
)

func (z *Zones) unknownZone(name string) task.ScheduleFault {
	return task.ScheduleFault{Field: "timezone", Message: "is " + quoted(name) + ", which is no time zone that is known here"}
}
