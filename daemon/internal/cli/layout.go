package cli

import (
	"strings"

	"github.com/mattn/go-runewidth"
)

// Columns of a line with a bar.
const (
	longBar   = 40
	shortBar  = 6
	shortName = 8
	percents  = 6  // " 100 %"
	details   = 30 // for which a bar gives way; what is longer is cut
)

// layout remembers how much room the lines wanted so far. It only grows, so that
// columns do not jump about while numbers change.
type layout struct{ name, left, details int }

func (l *layout) see(b bar) {
	l.name = max(l.name, runewidth.StringWidth(b.name))
	l.left = max(l.left, runewidth.StringWidth(b.left))
	l.details = max(l.details, min(details, runewidth.StringWidth(b.details)))
}

// columns are the widths of a line's parts; 0: left out.
type columns struct{ width, name, bar, left, info int }

// columns shares out a width. When it is short, the bar gives way first, then
// the name, then the time that is left. The percentage stays.
func (l *layout) columns(width int) columns {
	c := columns{width: width, name: min(l.name, max(shortName, width/3))}
	after := 0 // the percentage and the time left, with the gaps before them
	if l.left > 0 {
		c.left, after = l.left, 2+l.left
	}
	gap := 2 + percents
	if l.details > 0 {
		c.bar = width - c.name - gap - after - 2 - l.details
	} else {
		c.bar = width - c.name - gap - after
	}
	c.bar = min(longBar, max(shortBar, c.bar))
	switch name := min(l.name, shortName); {
	case width >= name+gap+shortBar+after:
		c.name = min(c.name, width-gap-c.bar-after)
	case width >= name+percents+after:
		c.bar, c.name = 0, min(l.name, width-percents-after)
	default:
		c.bar, c.left, c.name = 0, 0, max(0, min(l.name, width-percents))
	}
	used := c.name + percents
	if c.bar > 0 {
		used += 2 + c.bar
	}
	c.info = max(0, width-used-2)
	return c
}

// clipName cuts the name of a step or of a run so that it can still be told from
// its neighbours: of "tables/actor" and "backup/42" the end counts.
func clipName(name string, width int) string {
	if runewidth.StringWidth(name) <= width {
		return name
	}
	indent := name[:len(name)-len(strings.TrimLeft(name, " "))]
	name = name[len(indent):]
	width -= len(indent)
	slash := strings.LastIndexByte(name, '/')
	if slash < 0 || strings.Contains(name, " ") || width < 2 {
		return indent + clip(name, width)
	}
	end := name[slash+1:]
	if runewidth.StringWidth(end)+2 > width {
		return indent + clip(end, width)
	}
	return indent + "…" + runewidth.TruncateLeft(name, runewidth.StringWidth(name)-width+1, "")
}
