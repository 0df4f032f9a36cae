package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	fiveFields = "minute, hour, day of the month, month, day of the week"
	cronHint   = `five fields: ` + fiveFields + `; "30 2 * * *" is each day at 02:30`
)

// odd finds what is no spec of fields at all.
func odd(text string) *textFault {
	lower := strings.ToLower(text)
	words := strings.Fields(lower)
	switch {
	case text == "":
		return &textFault{message: "is empty", hint: cronHint}
	case len(text) > maxCron:
		return &textFault{message: fmt.Sprintf("is %d bytes long, at most %d are allowed", len(text), maxCron)}
	case !utf8.ValidString(text):
		return &textFault{message: "is not valid UTF-8"}
	case strings.Contains(lower, "tz="):
		hint := "write the time zone with the key timezone"
		if _, zone, _ := strings.Cut(words[0], "tz="); zone != "" && strings.HasPrefix(lower, words[0]) {
			hint = "write timezone: " + text[len(words[0])-len(zone):len(words[0])] + " beside it"
		}
		return &textFault{offset: strings.Index(lower, "tz=") - lead(lower, "cron_"), message: "holds a time zone", hint: hint}
	case words[0] == "@every" || words[0] == "every":
		return everyFault(text, words)
	case words[0] == "@reboot":
		return &textFault{message: "has @reboot, which is no time", hint: `a schedule has times; what is to run at each start of the machine is started by its init system with "stepd run"`}
	}
	if aMoment(text) {
		return &textFault{message: "has a time, which is no cron spec", hint: "use the key at, as in at: " + text}
	}
	if fault := systemd(text, words); fault != nil {
		return fault
	}
	return behind(text)
}

// behind knows what others write behind the day of the week: a command, or a year.
func behind(text string) *textFault {
	fields := split(text)
	if len(fields) < 6 {
		return nil
	}
	reads := func(i, field int) bool { f := fields[i]; return len(f.parse(field)) == 0 }
	five, six := true, true // it begins with a spec of so many fields
	for i := range 6 {
		if i < 5 {
			five = five && reads(i, minuteField+i)
		}
		six = six && reads(i, i)
	}
	spec := func(n int) string { return strings.TrimSpace(text[:fields[n-1].offset+len(fields[n-1].text)]) }
	sixth := fields[5]
	switch {
	case six && len(fields) == 6:
		return nil
	case six && len(fields) == 7 && (yearly(fields[6].text) || fields[6].text == "*" || fields[6].text == "?"):
		return &textFault{offset: fields[6].offset, message: "has the year " + quoted(fields[6].text) + " as its seventh field",
			hint: "a year is no part of a spec: write " + quoted(spec(6)) + ", and use start and end for the years"}
	case five && yearly(sixth.text):
		return &textFault{offset: sixth.offset, message: "has the year " + quoted(sixth.text) + " as its sixth field",
			hint: "a year is no part of a spec: write " + quoted(spec(5)) + ", and use start and end for the years"}
	case six && command(fields[6].text):
		return aCommand(text, fields[6], spec(6))
	case five && command(sixth.text):
		return aCommand(text, sixth, spec(5))
	}
	return nil
}

func aCommand(text string, at cronField, spec string) *textFault {
	return &textFault{offset: at.offset, message: "has the command " + quoted(text[at.offset:]) + " behind its fields",
		hint: "a command is no part of a spec: write " + quoted(spec) + "; what is to be run are the steps of the task"}
}

// yearly reports whether the field is of years: 2026, 2026-2028, 2026/2.
func yearly(text string) bool {
	return len(text) >= 4 && digits(text[:4]) && (text[0] == '1' || text[0] == '2') && (len(text) == 4 || strings.ContainsRune("-,/", rune(text[4])))
}

// command reports whether the word is a program or a user of a crontab rather than a
// mistyped day of the week.
func command(text string) bool {
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, "./") || strings.HasPrefix(text, "~/") {
		return true
	}
	week := placeOf(dowField)
	letters := 0
	for _, r := range text {
		if unicode.IsLetter(r) {
			letters++
		}
	}
	return letters > 2 && !strings.ContainsAny(text, "#,") && foreign(text, week) == nil && meant(text, week) == ""
}

// lead is the length of the prefix if it stands before tz=.
func lead(text, prefix string) int {
	if strings.Contains(text, prefix+"tz=") {
		return len(prefix)
	}
	return 0
}

func everyFault(text string, words []string) *textFault {
	hint := "use the key every, as in every: 15m"
	if len(words) > 2 {
		hint = cronHint
	}
	if len(words) > 1 {
		if d, err := parseLength(strings.Join(words[1:], "")); err == nil {
			hint = "use the key every: " + length(d) + "; its times are counted from when the schedule was saved, or from its anchor"
		}
	}
	return &textFault{message: "has " + quoted(text) + ", which is no cron spec", hint: hint}
}

// systemd knows times of day where fields should be: systemd's calendar, or what people write first.
func systemd(text string, words []string) *textFault {
	if !strings.Contains(text, ":") {
		return nil
	}
	for i, word := range words {
		hours, rest, ok := strings.Cut(word, ":")
		minutes, _, _ := strings.Cut(rest, ":")
		minutes = strings.TrimSuffix(strings.TrimSuffix(minutes, "am"), "pm")
		hour, err1 := strconv.Atoi(hours)
		minute, err2 := strconv.Atoi(minutes)
		if !ok || err1 != nil || err2 != nil || hour < 0 || hour > 23 || minute < 0 || minute > 59 {
			continue
		}
		switch half := halfOf(words, i); {
		case half == "pm" && hour < 12:
			hour += 12
		case half == "am" && hour == 12:
			hour = 0
		}
		days := "*"
		if head := strings.ReplaceAll(words[0], "..", "-"); head != word {
			if f := (&cronField{text: head}); len(f.parse(dowField)) == 0 && !digits(head) {
				days = head
			}
		}
		return &textFault{offset: strings.Index(strings.ToLower(text), word), message: "has the time of day " + word + " where cron has fields",
			hint: fmt.Sprintf(`write "%d %d * * %s"`, minute, hour, days)}
	}
	return &textFault{offset: strings.Index(text, ":"), message: "has a colon, which is not part of any cron spec", hint: cronHint}
}

// halfOf is am or pm, if that stands at the end of the word or is the next one.
func halfOf(words []string, i int) string {
	for _, half := range []string{"am", "pm"} {
		if strings.HasSuffix(words[i], half) || i+1 < len(words) && words[i+1] == half {
			return half
		}
	}
	return ""
}

// unknownWord is the fault of a word with an @ that is not known.
func unknownWord(text string) textFault {
	known := []string{"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
	return textFault{message: "has the unknown word " + quoted(text), hint: didYouMean(text, known)}
}

// fieldCount is the fault of a spec with too few or too many fields.
func fieldCount(fields []cronField, offset int) textFault {
	hint := `"30 2 * * *" is each day at 02:30`
	switch n := len(fields); {
	case n == 1:
		word := strings.ToLower(fields[0].text)
		if d, err := parseLength(strings.TrimPrefix(word, "every")); err == nil && d > 0 {
			hint = "use the key every, as in every: " + length(d)
		}
		for _, known := range []string{"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"} {
			if strings.TrimPrefix(known, "@") == word {
				hint = "write " + known
			}
		}
	case n == 7:
		hint = "a year cannot be given, nor a command: use start and end for the years, and leave out what follows the day of the week"
	case n > 7:
		hint = "the spec ends with the day of the week; what is to be run are the steps of the task"
	}
	at := offset
	if len(fields) > 6 {
		at += fields[6].offset
	}
	return textFault{offset: at, message: fmt.Sprintf("has %s; it needs five (%s), or six with the second first", count(len(fields), "field"), fiveFields), hint: hint}
}

// foreign knows what other schedulers have in a field, and this one has not.
func foreign(text string, place cronPlace) *textFault {
	upper := strings.ToUpper(text)
	isDay := place.name == "day of the month" || place.name == "day of the week"
	last := upper == "L" || strings.HasPrefix(upper, "L-") || upper == "LW" || isDay && len(upper) > 1 && strings.HasSuffix(upper, "L") && upper != "JUL"
	switch {
	case place.name == "day of the week" && last:
		hint := "it is due each week on the day that is named"
		if day := strings.TrimSuffix(upper, "L"); day != "" && len((&cronField{text: day}).parse(dowField)) == 0 {
			hint = "write " + strings.ToLower(day) + ": it is due each week then"
		}
		return &textFault{message: fmt.Sprintf("has %s as the day of the week: the last one of a month cannot be named", quoted(text)), hint: hint}
	case isDay && last:
		return &textFault{message: fmt.Sprintf("has %s as the %s: the last day cannot be named", quoted(text), place.name),
			hint: "use a day that each month has, 28 at most, or the first day of the next month"}
	case isDay && len(upper) > 1 && strings.HasSuffix(upper, "W") && digits(upper[:len(upper)-1]):
		return &textFault{message: fmt.Sprintf("has %s as the %s: the nearest working day cannot be named", quoted(text), place.name),
			hint: "name the day itself"}
	case isDay && strings.Contains(upper, "#"):
		return &textFault{message: fmt.Sprintf("has %s as the %s: a day cannot be counted within the month", quoted(text), place.name),
			hint: "name the days of the week or of the month"}
	case strings.Contains(text, ".."):
		return &textFault{message: fmt.Sprintf("has the %s %s", place.name, quoted(text)), hint: "a range has a hyphen: " + strings.ReplaceAll(text, "..", "-")}
	case text == "H" || strings.HasPrefix(text, "H/") || strings.HasPrefix(text, "H("):
		return &textFault{message: fmt.Sprintf("has %s as the %s, which stands for a drawn value elsewhere", quoted(text), place.name),
			hint: "write a number, and use jitter to spread the times"}
	case strings.HasPrefix(text, "~") || strings.Contains(text, "~"):
		return &textFault{message: fmt.Sprintf("has %s as the %s, which stands for a drawn value elsewhere", quoted(text), place.name),
			hint: "write a number, and use jitter to spread the times"}
	}
	return nil
}

// meant guesses the name that a word in a field stands for.
func meant(text string, place cronPlace) string {
	if place.names == nil {
		if strings.Contains(text, ";") || strings.Contains(text, "|") {
			return "values are divided by commas"
		}
		return ""
	}
	lower := strings.ToLower(text)
	var starts [][2]string
	if place.max == 6 {
		// As days are called in English, German, French, Italian, Spanish and Dutch, where that leaves no doubt.
		starts = [][2]string{{"dim", "sun"}, {"dom", "sun"}, {"so", "sun"}, {"su", "sun"}, {"zo", "sun"},
			{"mo", "mon"}, {"lu", "mon"}, {"ma", "tue"}, {"di", "tue"}, {"tu", "tue"}, {"me", "wed"}, {"mi", "wed"}, {"we", "wed"}, {"wo", "wed"},
			{"do", "thu"}, {"je", "thu"}, {"ju", "thu"}, {"gi", "thu"}, {"th", "thu"}, {"fr", "fri"}, {"ve", "fri"}, {"vi", "fri"}, {"vr", "fri"},
			{"sa", "sat"}, {"sá", "sat"}, {"za", "sat"}}
	} else {
		starts = [][2]string{{"ene", "jan"}, {"jä", "jan"}, {"gen", "jan"}, {"ja", "jan"}, {"fe", "feb"}, {"fé", "feb"}, {"mar", "mar"}, {"mär", "mar"}, {"mrz", "mar"},
			{"maa", "mar"}, {"ap", "apr"}, {"av", "apr"}, {"abr", "apr"}, {"mai", "may"}, {"mag", "may"}, {"may", "may"}, {"mei", "may"}, {"juin", "jun"}, {"jun", "jun"}, {"giu", "jun"},
			{"jul", "jul"}, {"juil", "jul"}, {"lug", "jul"}, {"ago", "aug"}, {"ao", "aug"}, {"au", "aug"}, {"set", "sep"}, {"se", "sep"}, {"ok", "oct"}, {"oc", "oct"}, {"ot", "oct"},
			{"no", "nov"}, {"de", "dec"}, {"dé", "dec"}, {"di", "dec"}}
	}
	for _, s := range starts {
		if strings.HasPrefix(lower, s[0]) {
			return "did you mean " + s[1] + "?"
		}
	}
	return didYouMean(lower, place.names)
}

// didYouMean suggests the known word that is most like the given one, or nothing.
func didYouMean(word string, known []string) string {
	if best := nearest(word, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return ""
}

// nearest is the known word that most likely was meant: one that begins as the word does, or is like it.
func nearest(word string, known []string) string {
	if len(word) < 2 || len(word) > 100 {
		return ""
	}
	lower := strings.ToLower(word)
	best, least := "", max(2, len(word)/3+1)
	for _, k := range known {
		if strings.HasPrefix(strings.ToLower(k), lower) {
			return k
		}
		if d := distance(lower, strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours
// that turn a into b.
func distance(a, b string) int {
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			change := row[j]
			if a[i] != b[j] {
				change++
			}
			next[j+1] = min(change, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}

// quoted shows a text of others within a message.
func quoted(text string) string { return strconv.Quote(cut(text)) }

// cut keeps a text of others short.
func cut(text string) string {
	const most = 60
	text = strings.ToValidUTF8(text, "?")
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-3]) + "..."
}

// count writes "1 field" or "3 fields".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// list writes "a", "a and b", or "a, b and c".
func list(items []string, word string) string {
	switch n := len(items); n {
	case 0:
		return ""
	case 1:
		return items[0]
	default:
		return strings.Join(items[:n-1], ", ") + " " + word + " " + items[n-1]
	}
}

// plain keeps what somebody wrote from steering the terminal of who reads it.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}
