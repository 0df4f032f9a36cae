package schedule

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/stepd/stepd/daemon/internal/task"
)

// unknownZone is the fault of a zone that is not there, with the zones that may have been meant.
func (z *Zones) unknownZone(name string) task.ScheduleFault {
	fault := task.ScheduleFault{Field: "timezone", Message: "is " + quoted(name) + ", which is no time zone that is known here"}
	const city = "name a city, as in Europe/Berlin or America/New_York"
	plain := strings.TrimSpace(name)
	switch upper := strings.ToUpper(plain); {
	case plain == "":
		fault.Message, fault.Hint = "is empty", city+", or UTC"
	case len(name) > 100:
		fault.Hint = city
	case upper == "LOCAL" || upper == "LOCALTIME":
		fault.Message = "is " + quoted(name) + ", which may be another zone tomorrow and on another machine"
		fault.Hint = city
	case strings.HasPrefix(plain, "right/") || strings.HasPrefix(plain, "posix/"):
		fault.Hint = "write " + plain[len("right/"):]
	case abbreviated(upper) != "":
		fault.Message = "is " + quoted(name) + ", an abbreviation of more than one meaning and for a part of the year only"
		fault.Hint = "name a city, as in " + abbreviated(upper)
	case shifted(upper) != "":
		fault.Message = "is " + quoted(name) + ", an offset and no time zone"
		fault.Hint = shifted(upper)
	case strings.HasSuffix(plain, " Time"):
		fault.Hint = city + ": other names are not known here"
	default:
		fault.Hint = city
		if near := z.near(plain); len(near) > 0 {
			fault.Hint = "did you mean " + list(near, "or") + "?"
		}
	}
	return fault
}

// abbreviated is a zone in which the abbreviation is used.
func abbreviated(upper string) string {
	switch upper {
	case "PST", "PDT", "PT":
		return "America/Los_Angeles"
	case "MDT", "MT":
		return "America/Denver"
	case "CST", "CDT", "CT":
		return "America/Chicago"
	case "EDT", "ET":
		return "America/New_York"
	case "AST", "ADT":
		return "America/Halifax"
	case "AKST", "AKDT":
		return "America/Anchorage"
	case "BST":
		return "Europe/London"
	case "WEST":
		return "Europe/Lisbon"
	case "CEST", "MEZ", "MESZ":
		return "Europe/Berlin"
	case "EEST":
		return "Europe/Helsinki"
	case "MSK":
		return "Europe/Moscow"
	case "IST":
		return "Asia/Kolkata, Asia/Jerusalem or Europe/Dublin"
	case "JST":
		return "Asia/Tokyo"
	case "KST":
		return "Asia/Seoul"
	case "HKT":
		return "Asia/Hong_Kong"
	case "SGT":
		return "Asia/Singapore"
	case "AEST", "AEDT":
		return "Australia/Sydney"
	case "ACST", "ACDT":
		return "Australia/Adelaide"
	case "AWST":
		return "Australia/Perth"
	case "NZST", "NZDT":
		return "Pacific/Auckland"
	}
	return ""
}

// shifted is what to write for UTC+2, GMT-5 or +02:00.
func shifted(upper string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(upper, "UTC"), "GMT")
	if len(rest) < 2 || rest[0] != '+' && rest[0] != '-' || rest[1] < '0' || rest[1] > '9' {
		return ""
	}
	hours, minutes, _ := strings.Cut(rest[1:], ":")
	if len(hours) == 4 {
		hours, minutes = hours[:2], hours[2:]
	}
	sign := "-"
	if rest[0] == '-' {
		sign = "+"
	}
	hint := "name a city, as in Europe/Berlin"
	hours = strings.TrimPrefix(hours, "0")
	if digits(hours) && len(hours) <= 2 && strings.Trim(minutes, "0") == "" && hours != "0" {
		hint += "; a zone without changes of the clock is Etc/GMT" + sign + hours + ", where the sign is the other way round"
	}
	return hint
}

// near finds zones that a misspelt name may stand for.
func (z *Zones) near(name string) []string {
	z.listed.Do(func() { z.names = listZones("/usr/share/zoneinfo") })
	tidy := strings.ReplaceAll(strings.ReplaceAll(name, " ", "_"), `\`, "/")
	var found []string
	for _, known := range z.names {
		area, city := cutLast(known)
		if strings.EqualFold(area, tidy) {
			return nil // a continent has too many cities
		}
		if strings.EqualFold(known, tidy) {
			return []string{known}
		}
		if strings.EqualFold(city, tidy) {
			found = append(found, known)
		}
	}
	if len(found) > 0 {
		return found[:min(3, len(found))]
	}
	for _, one := range likely(tidy) {
		if _, err := z.load(one); err == nil {
			return []string{one}
		}
	}
	if best := nearest(tidy, z.names); best != "" {
		return []string{best}
	}
	var cities []string
	full := make(map[string]string)
	for _, known := range z.names {
		if area, city := cutLast(known); area != "" {
			cities = append(cities, city)
			full[city] = known
		}
	}
	_, city := cutLast(tidy)
	if best := nearest(city, cities); best != "" {
		return []string{full[best]}
	}
	return nil
}

// likely are the names that usual mistakes are made of: small letters, a city
// without its continent. It is for machines without a list of zones.
func likely(name string) []string {
	var b strings.Builder
	start := true
	for _, r := range strings.ToLower(name) {
		if start {
			r = unicode.ToUpper(r)
		}
		start = r == '/' || r == '_' || r == '-'
		b.WriteRune(r)
	}
	title := b.String()
	names := []string{title, strings.ToUpper(name)}
	for _, area := range []string{"Europe", "America", "Asia", "Africa", "Australia", "Pacific", "Atlantic", "Indian"} {
		names = append(names, area+"/"+title)
	}
	return names
}

func cutLast(name string) (area, city string) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

// listZones lists the names of a zone database. None is no fault: they only make suggestions.
func listZones(dir string) []string {
	var names []string
	_ = fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir
		case path == "posix" || path == "right":
			return fs.SkipDir
		case !entry.IsDir() && path[0] >= 'A' && path[0] <= 'Z' && !strings.Contains(path, "."):
			names = append(names, path)
		}
		return nil
	})
	slices.Sort(names)
	return names
}
