package app

import (
	"fmt"
	"time"

	"github.com/stepd/stepd/daemon/internal/schedule"
	"github.com/stepd/stepd/daemon/internal/task"
)

// checkTimezone says what is wrong with the time zone of schedules that name
// none. Where nobody has set one it is the machine's, which may have no name.
func checkTimezone(zones *schedule.Zones, name string) error {
	for _, fault := range zones.Check(task.Schedule{Cron: "@daily", Timezone: name}, time.Time{}) {
		if fault.Field != "timezone" {
			continue
		}
		text := "timezone " + fault.Message
		if fault.Hint != "" {
			text += "; " + fault.Hint
		}
		return fmt.Errorf("%s (it is set by timezone in the configuration file, STEPD_TIMEZONE or --timezone, and is that of the machine otherwise)", text)
	}
	return nil
}
