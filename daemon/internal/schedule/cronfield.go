package schedule

import (
	"fmt"
	"strconv"
	"strings"
)

// cronPlace describes the field at a place of a spec.
type cronPlace struct {
	name     string
	min, max int
	names    []string // of the values from min on
}

func placeOf(field int) cronPlace {
	switch field {
	case secondField:
		return cronPlace{name: "second", max: 59}
	case minuteField:
		return cronPlace{name: "minute", max: 59}
	case hourField:
		return cronPlace{name: "hour", max: 23}
	case domField:
		return cronPlace{name: "day of the month", min: 1, max: 31}
	case monthField:
		return cronPlace{name: "month", min: 1, max: 12,
			names: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}}
	}
	return cronPlace{name: "day of the week", max: 6, names: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}}
}

// allowed says which values the field takes.
func (p cronPlace) allowed() string {
	text := fmt.Sprintf("%d to %d", p.min, p.max)
	if p.names == nil {
		return text
	}
	if p.max == 6 {
		text = "0 to 7 (0 and 7 are Sunday)"
	}
	return text + " or " + p.names[0] + " to " + p.names[len(p.names)-1]
}

// parse reads the items of a field of that place.
func (f *cronField) parse(field int) []textFault {
	place := placeOf(field)
	var faults []textFault
	at := f.offset
	for text := range strings.SplitSeq(f.text, ",") {
		item, fault := parseItem(text, place)
		if fault != nil {
			fault.offset += at
			if text == "" {
				fault.message = fmt.Sprintf("has an empty item in the %s %s", place.name, quoted(f.text))
			}
			faults = append(faults, *fault)
		}
		f.items = append(f.items, item)
		at += len(text) + 1
	}
	return faults
}

func parseItem(text string, place cronPlace) (cronItem, *textFault) {
	if text == "" {
		return cronItem{}, &textFault{hint: "one comma stands between two values, as in 1,15"}
	}
	if fault := foreign(text, place); fault != nil {
		return cronItem{}, fault
	}
	item := cronItem{step: 1}
	span, step, stepped := strings.Cut(text, "/")
	low, high, ranged := strings.Cut(span, "-")
	if strings.Contains(high, "-") {
		return cronItem{}, &textFault{message: fmt.Sprintf("has the %s %s with two hyphens", place.name, quoted(text)), hint: "a range has one, as in 1-5; values are divided by commas"}
	}
	item.stepped, item.ranged = stepped, ranged
	switch {
	case low == "*" || low == "?":
		if ranged {
			return item, &textFault{message: fmt.Sprintf("has the %s %s: a range has a number on either side of the hyphen", place.name, quoted(text)),
				hint: "for all values write " + low}
		}
		item.star, item.low, item.high = true, place.min, place.max
	default:
		var fault *textFault
		if item.low, fault = parseValue(low, place); fault != nil {
			return item, fault
		}
		if place.max == 6 && item.low == 7 {
			item.low = 0 // both are Sunday; at the end of a range it is the one behind Saturday
		}
		item.high = item.low
		if stepped {
			item.high = place.max // 5/15 is 5-59/15
		}
		if !ranged {
			break
		}
		if item.high, fault = parseValue(high, place); fault != nil {
			fault.offset += len(low) + 1
			return item, fault
		}
		if place.max == 6 && strings.EqualFold(high, "sun") && item.low > 0 {
			item.high = 7
		}
		if place.max == 6 && item.high == 7 && (low == "7" || strings.EqualFold(low, "sun") && strings.EqualFold(high, "sun")) {
			item.high = 0
		}
		if item.high < item.low {
			return item, &textFault{message: fmt.Sprintf("has the %s %s: it ends before it begins", place.name, quoted(text)),
				hint: "write " + around(item.low, item.high, low, high, place)}
		}
	}
	if !stepped {
		return item, nil
	}
	n, err := strconv.Atoi(step)
	behind := len(span) + 1
	switch {
	case step == "":
		return item, &textFault{offset: behind - 1, message: fmt.Sprintf("has no step behind the slash in the %s %s", place.name, quoted(text)), hint: "a step is written as in */15"}
	case err != nil || !digits(step):
		return item, &textFault{offset: behind, message: fmt.Sprintf("has %s as the step of the %s, which is no number", quoted(step), place.name), hint: "a step is written as in */15"}
	case n == 0:
		return item, &textFault{offset: behind, message: fmt.Sprintf("has the step 0 in the %s %s and would not move", place.name, quoted(text)), hint: "a step is 1 or more"}
	case n > place.max-place.min+1:
		return item, &textFault{offset: behind, message: fmt.Sprintf("has the step %d in the %s, which has only %d values", n, place.name, place.max-place.min+1), hint: longStep(n, place)}
	}
	item.step = n
	return item, nil
}

// longStep is what to write for a step that is longer than its field.
func longStep(n int, place cronPlace) string {
	unit := map[string]string{"second": "s", "minute": "m", "hour": "h"}[place.name]
	if unit == "" {
		return "a step begins anew with each " + map[string]string{"day of the month": "month", "month": "year", "day of the week": "week"}[place.name] + "; list the values instead"
	}
	return fmt.Sprintf("a step begins anew with each %s; for a fixed rate use every: %d%s instead of cron",
		map[string]string{"second": "minute", "minute": "hour", "hour": "day"}[place.name], n, unit)
}

// around writes a range over the end of its field as two.
func around(low, high int, lowText, highText string, place cronPlace) string {
	end, begin := strconv.Itoa(place.max), strconv.Itoa(place.min)
	if place.names != nil && !digits(lowText) {
		end, begin = place.names[len(place.names)-1], place.names[0]
	}
	part := func(low, high int, lowText, highText string) string {
		if low == high {
			return lowText
		}
		return lowText + "-" + highText
	}
	return part(low, place.max, lowText, end) + "," + part(place.min, high, begin, highText)
}

// parseValue reads a number or a name.
func parseValue(text string, place cronPlace) (int, *textFault) {
	for i, name := range place.names {
		if strings.EqualFold(text, name) {
			return place.min + i, nil
		}
	}
	n, err := strconv.Atoi(text)
	switch {
	case text == "":
		return 0, &textFault{message: fmt.Sprintf("has a range with an open end in the %s", place.name), hint: "a range has a value on either side of its hyphen, as in 1-5"}
	case !digits(text):
		return 0, &textFault{message: fmt.Sprintf("has %s as the %s: %s are possible", quoted(text), place.name, place.allowed()), hint: meant(text, place)}
	case err != nil || n < place.min || n > place.max && !(place.max == 6 && n == 7):
		return 0, &textFault{message: fmt.Sprintf("has the %s %s: %s are possible", place.name, cut(text), place.allowed()), hint: outside(n, place)}
	}
	return n, nil
}

// outside is what to do about a number that the field does not take.
func outside(n int, place cronPlace) string {
	switch {
	case place.name == "hour" && n == 24:
		return "midnight is hour 0"
	case n == 60 && place.max == 59:
		return "the full " + map[string]string{"minute": "hour is minute", "second": "minute is second"}[place.name] + " 0"
	case n == 0 && place.min == 1:
		return "the first one is 1; for each one write *"
	}
	return ""
}

func digits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}
