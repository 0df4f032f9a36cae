package schedule

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/robfig/cron/v3"
)

// cronSpec is a cron spec that was read.
type cronSpec struct {
	text    string
	seconds bool               // it has six fields
	fields  []cronField        // second to day of the week; a Rule does without them
	spec    *cron.SpecSchedule // in UTC
	follows bool               // its hour field admits every hour
}

// The places of a spec's fields.
const (
	secondField = iota
	minuteField
	hourField
	domField
	monthField
	dowField
)

// cronField is one field of a spec, and where it begins in the text.
type cronField struct {
	text   string
	offset int
	items  []cronItem
}

// cronItem is one part of a field that commas divide. Its values are low, low+step
// and so on, up to high.
type cronItem struct {
	star            bool
	low, high, step int
	ranged          bool // it was written with a low and a high
	stepped         bool // it was written with a step
}

// bits has a one for each value that the field admits.
func (f *cronField) bits() uint64 {
	var all uint64
	for _, item := range f.items {
		for v := item.low; v <= item.high; v += item.step {
			all |= 1 << v
		}
	}
	return all
}

// open reports whether the field counts as not given: a star, or a question mark, without a step.
func (f *cronField) open() bool {
	for _, item := range f.items {
		if item.star && item.step == 1 {
			return true
		}
	}
	return false
}

// maxCron is the longest spec in bytes; one that lists all its minutes and seconds has less.
const maxCron = 1000

// parseCron reads a spec, or says everything that is wrong with it.
func parseCron(text string) (*cronSpec, []textFault) {
	body := strings.TrimSpace(text)
	lead := len(text) - len(strings.TrimLeftFunc(text, unicode.IsSpace))
	c := &cronSpec{text: body}
	if fault := odd(body); fault != nil {
		fault.offset += lead
		return nil, []textFault{*fault}
	}
	if strings.HasPrefix(body, "@") {
		meaning, ok := cronWord(body)
		if !ok {
			fault := unknownWord(body)
			fault.offset += lead
			return nil, []textFault{fault}
		}
		body, lead = meaning, 0
	}
	fields := split(body)
	if len(fields) != 5 && len(fields) != 6 {
		return nil, []textFault{fieldCount(fields, lead)}
	}
	c.seconds = len(fields) == 6
	if !c.seconds {
		fields = append([]cronField{{text: "0"}}, fields...)
	}
	var faults []textFault
	var plain []string
	for i, f := range fields {
		f.offset += lead
		faults = append(faults, f.parse(i)...)
		c.fields = append(c.fields, f)
		plain = append(plain, f.plain(i))
	}
	if len(faults) > 0 {
		return nil, faults
	}
	spec, err := readSpec(strings.Join(plain, " "))
	if err != nil {
		return nil, []textFault{{offset: lead, message: fmt.Sprintf("cannot be read: %v", err)}}
	}
	c.spec = spec
	const day = 1<<24 - 1
	c.follows = spec.Hour&day == day
	return c, nil
}

// readSpec is the library's parser, which panics at some texts.
func readSpec(text string) (spec *cron.SpecSchedule, err error) {
	defer func() {
		if p := recover(); p != nil {
			spec, err = nil, fmt.Errorf("the parser fails: %v", p)
		}
	}()
	read, err := cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(text)
	if err != nil {
		return nil, err
	}
	spec, ok := read.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("it is no spec of fields")
	}
	spec.Location = time.UTC
	return spec, nil
}

// cronWord is the spec that a word stands for.
func cronWord(word string) (spec string, ok bool) {
	switch word {
	case "@yearly", "@annually":
		return "0 0 1 1 *", true
	case "@monthly":
		return "0 0 1 * *", true
	case "@weekly":
		return "0 0 * * 0", true
	case "@daily", "@midnight":
		return "0 0 * * *", true
	case "@hourly":
		return "0 * * * *", true
	}
	return "", false
}

// split cuts a spec into its fields.
func split(text string) []cronField {
	var fields []cronField
	start := -1
	for i, r := range text {
		switch space := unicode.IsSpace(r); {
		case space && start >= 0:
			fields = append(fields, cronField{text: text[start:i], offset: start})
			start = -1
		case !space && start < 0:
			start = i
		}
	}
	if start >= 0 {
		fields = append(fields, cronField{text: text[start:], offset: start})
	}
	return fields
}

// next is the first wall behind the given one that the spec admits.
func (c *cronSpec) next(wall int64) (next int64, ok bool) {
	if c.spec.Second == 1 {
		// Nothing but full minutes: this saves the library the way to the next one, second by second.
		wall += 59 - mod(wall, 60)
	}
	from := time.Unix(wall, 0).UTC()
	// The library looks no farther than to the end of the fifth year. The longest way is that from one 29 February
	// to the next, eight years where there is none in a year such as 2100.
	for range 2 {
		if t := c.spec.Next(from); !t.IsZero() {
			return t.Unix(), true
		}
		from = time.Date(from.Add(time.Second).Year()+6, 1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Second)
	}
	return 0, false
}

// plain writes the field of that place for the library, which has no 7 for Sunday.
func (f *cronField) plain(field int) string {
	var items []string
	for _, item := range f.items {
		text := strconv.Itoa(item.low)
		switch {
		case item.star:
			text = "*"
			if item.stepped {
				text += "/" + strconv.Itoa(item.step)
			}
		case field == dowField && item.high == 7:
			var list []string
			for v := item.low; v <= item.high; v += item.step {
				list = append(list, strconv.Itoa(v%7))
			}
			text = strings.Join(list, ",")
		case item.high > item.low:
			text += "-" + strconv.Itoa(item.high)
			if item.stepped {
				text += "/" + strconv.Itoa(item.step)
			}
		}
		items = append(items, text)
	}
	return strings.Join(items, ",")
}

func mod(a, b int64) int64 {
	if m := a % b; m < 0 {
		return m + b
	} else {
		return m
	}
}

// values lists the ones of a field's bits.
func values(set uint64) []int {
	var list []int
	for ; set != 0; set &= set - 1 {
		list = append(list, bits.TrailingZeros64(set))
	}
	return list
}
