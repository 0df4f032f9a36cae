package retain

import (
	"errors"
	"fmt"
	"time"

	"github.com/invopop/jsonschema"
)

// Rules say how many archives stay. Each rule for a period keeps the newest
// archive of each of the last so many periods that have one; an archive stays
// when any rule keeps it.
type Rules struct {
	Last    int `json:"last,omitempty" jsonschema:"minimum=1" jsonschema_description:"The newest so many, whenever they were made."`
	Hourly  int `json:"hourly,omitempty" jsonschema:"minimum=1" jsonschema_description:"The newest of each of the last so many hours that have one."`
	Daily   int `json:"daily,omitempty" jsonschema:"minimum=1" jsonschema_description:"The newest of each of the last so many days that have one."`
	Weekly  int `json:"weekly,omitempty" jsonschema:"minimum=1" jsonschema_description:"The newest of each of the last so many weeks (from Monday) that have one."`
	Monthly int `json:"monthly,omitempty" jsonschema:"minimum=1" jsonschema_description:"The newest of each of the last so many months that have one."`
	Yearly  int `json:"yearly,omitempty" jsonschema:"minimum=1" jsonschema_description:"The newest of each of the last so many years that have one."`
}

// JSONSchemaExtend asks for a rule at least.
func (Rules) JSONSchemaExtend(schema *jsonschema.Schema) {
	one := uint64(1)
	schema.MinProperties = &one
}

// rule is one of Rules.
type rule struct {
	name   string
	count  int
	period func(t time.Time) string // what two archives of one period share; nil: nothing
}

func (r Rules) list() []rule {
	layout := func(l string) func(time.Time) string { return func(t time.Time) string { return t.Format(l) } }
	return []rule{
		{"last", r.Last, nil},
		// With the offset, as an hour comes twice when summer time ends.
		{"hourly", r.Hourly, layout("2006-01-02 15h -0700")},
		{"daily", r.Daily, layout("2006-01-02")},
		{"weekly", r.Weekly, func(t time.Time) string {
			year, week := t.ISOWeek()
			return fmt.Sprintf("%d-W%02d", year, week)
		}},
		{"monthly", r.Monthly, layout("2006-01")},
		{"yearly", r.Yearly, layout("2006")},
	}
}

func (r Rules) check() error {
	some := false
	for _, rule := range r.list() {
		if rule.count < 0 {
			return fmt.Errorf("keep: %s is %d: it must be at least 1", rule.name, rule.count)
		}
		some = some || rule.count > 0
	}
	if !some {
		return errors.New("keep: set at least one of last, hourly, daily, weekly, monthly, yearly")
	}
	return nil
}

// reasons says of each archive, given by its time and newest first, which
// rules keep it. One without reasons is kept by none. The calendar is zone's.
func (r Rules) reasons(newestFirst []time.Time, zone *time.Location) [][]string {
	reasons := make([][]string, len(newestFirst))
	for _, rule := range r.list() {
		if rule.period == nil {
			for i := range min(rule.count, len(newestFirst)) {
				reasons[i] = append(reasons[i], fmt.Sprintf("%s %d", rule.name, i+1))
			}
			continue
		}
		// A set, as local dates can go backwards where a zone puts its clocks back
		// over midnight.
		taken := map[string]bool{}
		for i, t := range newestFirst {
			period := rule.period(t.In(zone))
			if taken[period] {
				continue
			}
			if len(taken) == rule.count {
				break
			}
			taken[period] = true
			reasons[i] = append(reasons[i], rule.name+" "+period)
		}
	}
	return reasons
}
