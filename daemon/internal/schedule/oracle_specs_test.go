package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// oracleSpecs are the specs that each change is met with: written to hit gaps
// and repeated hours and the days that hold them, and random ones.
func oracleSpecs(t *testing.T, days []day) []cronSpec {
	t.Helper()
	texts := append(wallSpecs(), clockSpecs()...)
	texts = append(texts, daySpecs()...)
	texts = append(texts, randomSpecs(200, days)...)
	seen := map[string]bool{}
	var specs []cronSpec
	for _, text := range texts {
		if seen[text] {
			continue
		}
		seen[text] = true
		s, err := readCron(text, days)
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, s)
	}
	return specs
}

// wallSpecs come at some hours of every day.
func wallSpecs() []string {
	var list []string
	// Every half hour near those at which clocks are set, alone: zones do it
	// at 00:00, 00:01, 01:00, 02:00, 03:00, 04:00 and 24:00, by 20 minutes up to a day.
	for _, hour := range []int{0, 1, 2, 3, 4, 22, 23} {
		for _, m := range []int{0, 1, 30, 59} {
			list = append(list, fmt.Sprintf("%d %d * * *", m, hour))
		}
	}
	return append(list,
		"45 2 * * *", "15 0 * * *", "29 2 * * *", "31 1 * * *", "0 12 * * *", "5 5 * * *", "20 3 * * *", "59 11 * * *",
		"@daily", "@midnight",
		// ranges, lists and steps over them
		"0 0-6 * * *", "30 0-6 * * *", "0 1-3 * * *", "30 1-2 * * *", "15,45 1-3 * * *", "0,30 0-3 * * *", "*/20 2 * * *",
		"*/15 1,2,3 * * *", "*/10 2-3 * * *", "*/5 2 * * *", "* 2 * * *", "* 1 * * *", "*/7 0 * * *", "*/7 23 * * *", "10-20 3 * * *",
		"0 22-23 * * *", "30 23,0,1 * * *", "0 */2 * * *", "0 1/2 * * *", "30 */3 * * *", "0 2/3 * * *", "0 */5 * * *",
		"15 */4 * * *", "45 */6 * * *", "0 */12 * * *", "0 1-23 * * *", "30 0-22 * * *", "0 0-1,3-23 * * *", "30 0,1,3-23 * * *",
		"0 0-11,13-23 * * *", "59 1-23/2 * * *", "0 8-18 * * *", "0,15,30,45 0-2 * * *", "1-59/2 2 * * *", "0 ? * * *",
		"0 0,6,12,18 * * *", "30 2,14 * * *", "58/1 1 * * *",
		// with seconds
		"0 0 2 * * *", "30 30 2 * * *", "59 59 1 * * *", "1 0 3 * * *", "0 0 3 * * *", "59 59 23 * * *", "1 0 0 * * *", "15,45 30 1 * * *",
		"*/20 0 2 * * *", "*/20 59 1-2 * * *", "0,30 0,30 0-3 * * *", "*/30 */30 2,3 * * *", "59 59 0-22 * * *", "*/10 30 0 * * *", "* 30 2 * * *", "* 0 3 * * *",
		"30-35 15 0,1,2,3 * * *", "0 0 0 * * *", "7 7 1-5 * * *", "* 59 23 * * *",
	)
}

// clockSpecs come at every hour.
func clockSpecs() []string {
	return []string{
		"@hourly", "0 * * * *", "30 * * * *", "59 * * * *", "1 * * * *", "15,45 * * * *", "*/30 * * * *", "*/15 * * * *", "*/20 * * * *",
		"*/7 * * * *", "*/13 * * * *", "*/45 * * * *", "10-20/5 * * * *", "0 */1 * * *", "30 0-23 * * *", "0 0-11,12-23 * * *",
		"0 0/1 * * *", "15 0/2,1/2 * * *", "30 ? * * *", "* * * * *", "*/2 * * * *", "*/5 * * * *", "*/10 * * * *",
		"30 0 * * * *", "59 59 * * * *", "*/30 */30 * * * *", "0,20,40 15 * * * *", "* 30 * * * *", "*/15 * * * * *", "* * * * * *", "45 */7 * * * *",
		"0 * 1 * *", "30 * * * sun", "*/20 * * mar,apr sun", "15 * 25-31 3,10 *", "0 * 1-7 * sun", "0 * * * sat,mon", "*/30 * 31 * *",
	}
}

// daySpecs come on some days only.
func daySpecs() []string {
	return []string{
		"@weekly", "@monthly", "@yearly", "@annually",
		// days of the week, by number and by name
		"0 2 * * 0", "30 2 * * sun", "30 1 * * SUN", "0 0 * * sun", "30 0 * * Sat", "0 0 * * fri", "30 2 * * mon-fri", "0 3 * * 1-5", "0 1 * * 6,0",
		"30 23 * * sat", "0 0 * * mon", "30 2 * * */2", "15 1 * * tue,thu,sun", "0 0 * * 4-6", "1 0 * * sun,mon",
		// days of the month; those that not every month has
		"0 0 1 * *", "30 2 1 * *", "0 0 29 2 *", "30 2 29 2 *", "0 2 31 * *", "30 1 31 * *", "0 0 31 * *", "30 2 30 * *", "0 0 28-31 * *", "30 2 28-31 * *",
		"0 2 1-7 * *", "30 2 8-14 3 *", "30 1 1-7 11 *", "0 1 25-31 3 *", "30 2 25-31 mar *", "30 2 25-31 OCT *", "0 3 25-31 3,10 *", "0 0 */2 * *",
		"30 2 */2 * *", "0 2 1/3 * *", "0 0 15 * *", "30 0 1-15 * *", "0 0 30 12 *", "30 2 31 12 *", "0 0 31 12 *", "30 23 31 * *",
		// months
		"0 0 1 jan *", "30 2 * mar *", "30 1 * nov *", "30 2 * 3,4 *", "0 2 * 9-11 *", "0 0 * */2 *", "0 0 * oct-dec *", "0 3 * 4/3 *", "30 0 * mar,apr,sep,oct *", "15 1 * Jan-Jun *",
		// a day of the month or of the week; */2 is one that is given, */1 and ? are not
		"30 2 13 * fri", "0 2 1 * sun", "30 2 1,15 * mon", "0 0 1-7 * sun", "30 1 31 * sun", "0 0 29 2 mon", "30 2 8-14 3 sun", "30 1 1-7 11 sun", "0 1 25-31 3,10 0",
		"30 2 */1 * sun", "30 2 */2 * sun", "30 2 */2 * */2", "30 2 ? * sun", "0 0 ? * ?", "0 2 1-31 * sun", "30 2 15 * 0-6", "0 0 31 4-9 sat", "30 0 1 * */2",
		"0 1 *,5 * sun", "30 2 5 * *,3",
		// with seconds
		"30 30 2 * * sun", "0 0 2 8-14 mar ?", "59 59 1 * 11 *", "*/30 30 2 25-31 3 sun", "1 1 1 1 1 *", "0 30 2 ? * SUN", "15 0 0 31 * *",
	}
}

// randomSpecs draws specs that come a few times a day, most of them near the
// hours and in the months at which clocks are set. They are the same each time.
func randomSpecs(n int, days []day) []string {
	r := rand.New(rand.NewPCG(2000, 2037))
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	number := func(low, high int) string { return fmt.Sprint(low + r.IntN(high-low+1)) }
	span := func(low, high int) string {
		a, b := low+r.IntN(high-low+1), low+r.IntN(high-low+1)
		return fmt.Sprintf("%d-%d", min(a, b), max(a, b))
	}
	list := func(item func() string) string {
		var parts []string
		for range 1 + r.IntN(3) {
			parts = append(parts, item())
		}
		return strings.Join(parts, ",")
	}
	minutes := func() string {
		return pick("0", "30", "59", "*/30", "*/20", "*/29", "15/30", number(0, 59), number(0, 59), list(func() string { return number(0, 59) }))
	}
	hours := func() string {
		return pick("*", number(0, 4), number(0, 4), number(22, 23), span(0, 5), span(0, 23), "*/"+number(2, 12), span(0, 23)+"/"+number(1, 5),
			list(func() string { return number(0, 23) }), list(func() string { return span(0, 4) }))
	}
	doms := func() string {
		return pick("*", "*", "*", "?", number(1, 31), span(1, 31), span(20, 31), "*/"+number(2, 9), list(func() string { return number(1, 31) }), list(func() string { return span(1, 31) }))
	}
	months := func() string {
		return pick("*", "*", "*", "*", "3,4,9-11", "mar", "10", "oct-nov", span(1, 12), "*/"+number(2, 5), list(func() string { return number(1, 12) }))
	}
	dows := func() string {
		return pick("*", "*", "*", "?", "sun", "0", "sat", "fri-sat", "mon-fri", span(0, 6), "*/2", list(func() string { return number(0, 6) }))
	}
	var specs []string
	for len(specs) < n {
		text := strings.Join([]string{minutes(), hours(), doms(), months(), dows()}, " ")
		if r.IntN(5) == 0 {
			text = pick("0", "59", "30", number(0, 59), "*/30") + " " + text
		}
		if s, err := readCron(text, days); err == nil && s.perDay() <= 48 {
			specs = append(specs, text)
		}
	}
	return specs
}
