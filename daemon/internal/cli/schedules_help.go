package cli

import "github.com/spf13/cobra"

func newSchedulesHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "schedules",
		Short: "What a task file says of when a task runs",
		Long: `Schedules

A task file says with schedule when the task runs: a cron spec, a mapping of the
keys below, or a list of up to 32 of both.

  schedule: "30 2 * * *"           short for {cron: "30 2 * * *"}
  schedule: {every: 15m, missed: skip}

When it is due, one of
  cron     minute, hour, day of the month, month, day of the week; six fields have
           the second first; or @yearly, @monthly, @weekly, @daily, @hourly
  at       once: 2026-12-24, 2026-12-24T18:00 or with an offset, as ...T18:00+01:00
  every    15m: a fixed rate, counted from when it was saved; 1s is the shortest
           {rate: 15m, anchor: 2026-01-01T00:05}: counted from that time
           {delay: 15m}: so long after the end of the task's last run

Further keys, all optional
  name           default: the kind (cron, at, every, after), then cron-2 and so on
  timezone       as Europe/Berlin; default: the daemon's. Clock changes are heeded
  start, end     nothing is due before start, and from end on; written as at is
  jitter         delays each time by less than that, always by the same amount; it
                 is less than the time between two due times
  exclude        list of up to 366 days, as 2026-12-25, 2026-12-24..2027-01-02, or
                 12-25 for each year; nothing is due on them
  missed         once (default): of the times that were missed the newest is made up
                 for; skip: none is; all: the newest ones, one after the other, oldest
                 first. With at and with a delay, which miss one at most, not all
  missed_window  default 7d: older times are not made up for; 1m is the least
  missed_limit   with all: at most so many, 1 to 100, default 10
  overlap        when a run of the task is alive at a due time, the new one
                 skip (default): is not made
                 queue: waits for the others to end
                 replace: has the others cancelled, also one that a person started,
                 and begins when they have ended
                 allow: runs beside them
                 Under each of them none is made while 100 runs are alive.

A time that is found up to a minute late counts as on time, if it is the newest, and
is run. Older ones were missed: the daemon was down, or the machine asleep. A delay
is not due while a run of the task is alive.

By when a run must have completed
  expect     {by: "06:00", days: mon-fri, timezone: Europe/Berlin}; days (default:
             all) are a day-of-week field of cron. At each deadline the time since the
             one before it is judged. The first one is excused, if no run has
             completed, when that time began before the expectation was saved.
  on_missed  the steps of the run that is made when none has completed

What becomes of a time: stepd schedule history NAME
  ran             a run was made when it was due
  ran late        a run was made to make up for it
  overlapped      not run: another run of the task was alive
  missed          not run: nobody was there, and the policy says so
  outside window  not run: nobody was there for longer than missed_window
  paused          not run: the task was paused or disabled
  met, unmet      a deadline: a run had completed, none had
  excused         a deadline that is not judged: paused, disabled or too early

stepd task pause keeps schedules from running a task, people can still run it; stepd
task disable keeps people from it too. Times that are due meanwhile are not made up
for: they are entered as paused when that ends.

What a schedule means, and its next times: stepd schedule explain`,
	}
}
