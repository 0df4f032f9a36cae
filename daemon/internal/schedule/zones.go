package schedule

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // a machine without a zone database, as many small images are, has zones all the same
)

// Zones reads schedules, and keeps the time zones that they name. The zero value is ready
// for use. It is safe for concurrent use.
type Zones struct {
	known sync.Map // name -> *zone; only names that exist, so that it cannot grow without end

	listed sync.Once
	names  []string // of the machine's zone database, for suggestions
}

var errZone = errors.New("unknown time zone")

// load finds a zone by its name in the time zone database.
func (z *Zones) load(name string) (*zone, error) {
	if known, ok := z.known.Load(name); ok {
		return known.(*zone), nil
	}
	// The first is what time.LoadLocation makes of an empty name, the others lie among the zones on some
	// machines: they are other names of wherever the machine is, or count leap seconds.
	if name == "" || name == "Local" || name == "localtime" || name == "posixrules" ||
		strings.HasPrefix(name, "right/") || strings.HasPrefix(name, "posix/") {
		return nil, errZone
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errZone, err)
	}
	known, _ := z.known.LoadOrStore(name, &zone{name: name, location: location})
	return known.(*zone), nil
}
