package cli

import (
	"strings"

	"github.com/mattn/go-runewidth"
)

// cell is one field of a table.
type cell struct {
	text  string
	color color
	right bool
}

func text(s string) cell { return cell{text: printable(s)} }

func status(s string) cell { return cell{text: printable(s), color: statusColor(s)} }

func amount(s string) cell { return cell{text: s, right: true} }

// shortCell is the least that a column is cut to.
const shortCell = 6

// layTable lines cells up in no more than room columns; 0: as many as it takes.
func layTable(p painter, room int, head []string, rows [][]cell) string {
	widths, floors := make([]int, len(head)), make([]int, len(head))
	for i, h := range head {
		for _, r := range rows {
			widths[i] = max(widths[i], runewidth.StringWidth(r[i].text))
		}
		floors[i] = min(widths[i], shortCell)
		if right(rows, i) {
			floors[i] = widths[i] // half a number is a wrong number
		}
		widths[i] = max(widths[i], runewidth.StringWidth(h))
	}
	if room > 0 {
		widths = squeeze(widths, floors, room)
	}
	var b strings.Builder
	line := func(cells []cell) {
		var l strings.Builder
		for i, w := range widths {
			c := cells[i]
			switch {
			case room == 0:
			case i == len(head)-1: // prose, not a name
				c.text = clip(c.text, w)
			default:
				c.text = clipName(c.text, w)
			}
			gap := strings.Repeat(" ", max(0, w-runewidth.StringWidth(c.text)))
			switch {
			case i == len(head)-1:
				l.WriteString(p.paint(c.color, c.text))
			case c.right:
				l.WriteString(gap + p.paint(c.color, c.text) + "  ")
			default:
				l.WriteString(p.paint(c.color, c.text) + gap + "  ")
			}
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	heads := make([]cell, len(head))
	for i, h := range head {
		heads[i] = cell{text: h, color: dim, right: right(rows, i)}
	}
	line(heads)
	for _, r := range rows {
		line(r)
	}
	return b.String()
}

func right(rows [][]cell, column int) bool { return len(rows) > 0 && rows[0][column].right }

// squeeze makes columns fit into a room: the widest are cut first, none below
// its floor. When that is not enough, the last columns are left out.
func squeeze(widths, floors []int, room int) []int {
	for n := len(widths); n > 1; n-- {
		fit := append([]int{}, widths[:n]...)
		over := 2*(n-1) - room
		for _, w := range fit {
			over += w
		}
		for over > 0 {
			widest := -1
			for i, w := range fit {
				if w > floors[i] && (widest < 0 || w > fit[widest]) {
					widest = i
				}
			}
			if widest < 0 {
				break
			}
			fit[widest]--
			over--
		}
		if over <= 0 {
			return fit
		}
	}
	return []int{min(widths[0], room)}
}
