// Package schedule says when runs are made, and keeps the account of it.
//
// It has two halves. A Rule is a compiled task.Schedule: pure arithmetic from
// one nominal time to the next, with its explanation in words. The Ledger decides
// what becomes of each due time, writes that down in the same transaction that
// makes the run, and looks at the clock. The package makes runs through a port
// only, and knows neither the engine nor the store.
//
// # Due times
//
// A nominal time is what the rule says; a due time is the nominal time with its
// jitter. Nominal times are whole seconds and strictly increase.
//
// Cron specs are read by robfig/cron's parser: five fields, or six with seconds first, names of
// months and days, and @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly. 7 is Sunday
// as 0 is, and at the end of a range the Sunday behind Saturday, as is the name sun there (5-7,
// fri-sun). A day matches when the day of the month or the day of the week does, if both are given, as
// in every cron. A field is not given if it has a * or ? without a step, or with the step 1; */2 is
// given.
//
// When a zone's clock is set, a cron spec goes by one of two rules:
//
//   - One whose hour field does not admit every hour is a list of wall-clock times. A time that does
//     not exist that day (the clock was set ahead over it) is due at the first instant after the gap;
//     several such times make one due time, also together with a time that is the end of the gap
//     itself. A time that comes twice (the clock was set back) is due the first time only.
//   - One whose hour field admits every hour follows the clock as it goes: it is due at each instant at
//     which the clock shows a matching time, so in both of two equal hours, and not in a gap.
//
// The same holds for whole days that a zone leaves out or repeats. In other words, which say the same
// for all changes of all zones since 1970: a wall-clock time of the first kind is due at the first
// instant at which the clock shows it or has gone beyond it.
//
// A Moment (at, start, end, anchor) is a wall-clock time of the first kind, or has an offset and is an
// instant. A fixed rate counts real time from its anchor, which is its first nominal time, and a fixed
// delay real time from the end of a run: neither knows of wall clocks. A fixed delay that would be due
// before start or on an excluded day is due at the first second which is neither (Rule.Admit).
//
// A cron spec that is due at all is due again within eight years: that is the longest way from one
// 29 February to the next. With excluded days a rule is looked through for 41 years behind the last of
// them. No time is after the year 9999.
//
// Jitter is drawn from the names of task and schedule and the nominal time, evenly from whole
// milliseconds below it. Check wants it to be less than the time between any two of the times that come
// next and of those around the next changes of the clock, so that due times keep their order.
//
// Moments are written 2026-12-24, 2026-12-24T18:00 or 2026-12-24T18:00:30 (a blank
// for the T will do), with or without Z or an offset such as +01:00. Excluded days are
// days of the rule's time zone on which the nominal time would fall; where the nominal
// time is moved by a gap, the day on which it then falls counts.
//
// # Decisions
//
// At each look the due times up to now that are not decided on are decided on,
// oldest first. The newest one is on time when it was due no more than OnTime
// ago. All others, and the newest when it is older, were missed, and the
// policy says what becomes of them:
//
//   - skip: they are recorded as missed.
//   - once: the newest is made up for (ran_late) when it was due within the
//     window; when a time is on time, that one stands for them. The
//     others are missed; those outside the window are outside_window.
//   - all: those within the window, at most the limit of the newest, are made up
//     for in their order, each run waiting for the one before, and one that is on time for them; the
//     others are missed, or outside_window.
//
// A time that is to be run meets the overlap policy if a run of the task is alive (hook
// runs do not count): skip records it as overlapped; queue makes a run that
// waits for the others; replace makes a run that waits, and has the others cancelled; allow makes a run
// at once. Under each of them it is overlapped when MaxQueued are alive. Runs
// that make up under all, and one on time that is found with them, are queued where the policy is skip
// or allow; where it is replace, only the first of them has others cancelled: they would
// cancel each other.
//
// While a task is disabled or paused, the times that are due are recorded as paused: when a pause
// ends by itself, with the first time behind it, else with the change that ends it. A change
// of a task first decides on what is due by the old definition, with runs of that. The
// deletion of a task does not: it gets no run any more, and its account goes with it. A
// schedule that is taken out of a task leaves its account. A schedule whose Timing changed starts anew
// from the moment of the change; a time that only waits for its jitter then is run at once (and missed, when
// the schedule is taken out). What was due by a definition that cannot be followed any more (its
// time zone is gone from the database) is not known. While there is no room on the disk nothing is decided,
// apart from what a change has to: the times that would be run are missed then.
//
// Times that follow on each other and went the same way without a run are one slot.
//
// A fixed delay has no due time while a run of the task is alive. It is next due
// Delay after the end of the newest run (of hooks apart), or after it was saved,
// or after a decision that made no run. It never
// catches up: one due time at most can be missed.
//
// # Clocks
//
// The ledger trusts the wall clock but remembers the latest time at which it has
// decided. When the clock is behind that by more than a second, it was set back: the
// times ahead of it on which was decided without a run are open again, and those that
// ran stay decided, so that nothing runs twice for one nominal time and nothing is
// lost. That goes as far as the account does: KeepSlots of each schedule. A schedule that was
// saved at a time ahead counts as saved now, and the deadline that comes next stays met if it was. When the clock jumps ahead, or the machine slept, what lay in between was
// missed, and is found within MaxSleep.
//
// # Expectations
//
// A task.Expect has its deadlines by the calendar: By on the given days. At each, the period
// since the deadline before it is judged: met when a run of the task completed in it, excused
// when the task was held at the deadline or the rule is younger than the period, else unmet. The newest unmet
// deadline makes a run of the task's OnMissed steps; older ones that were found in the same look do not.
package schedule
