package taskfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// line says where a node stands, "" of one that stands in no file.
func line(words string, n *yaml.Node) string {
	if n.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%s %d", words, n.Line)
}

// fault reports a problem at a node.
func (p *parser) fault(n *yaml.Node, path, message, hint string) {
	line, column := 1, 1
	switch {
	case p.unplaced:
		line, column = 0, 0
	case n != nil && n.Line > 0:
		line, column = n.Line, n.Column
	}
	p.at(line, column, path, message, hint)
}

func (p *parser) at(line, column int, path, message, hint string) {
	p.problems = append(p.problems, Problem{Line: line, Column: column, Path: path, Message: message, Hint: hint})
}

// hide keeps a scalar, or the scalars of a list, out of the excerpts.
func (p *parser) hide(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		p.hidden = append(p.hidden, n)
	}
	for _, child := range n.Content {
		if child.Kind != yaml.AliasNode {
			p.hide(child)
		}
	}
}

// excerpts gives the problems the lines that they stand in, plain secrets
// blotted out. Those beyond the end move to it.
func (p *parser) excerpts(problems []Problem) {
	if len(p.lines) == 0 {
		return
	}
	lines := make([][]rune, len(p.lines))
	for i, line := range p.lines {
		lines[i] = []rune(strings.ToValidUTF8(line, "?"))
	}
	slices.SortFunc(p.hidden, func(a, b *yaml.Node) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	for _, n := range slices.Compact(p.hidden) {
		blot(lines, n)
	}
	for i := range problems {
		f := &problems[i]
		if f.Line > len(lines) {
			f.Line = len(lines)
			f.Column = len(lines[f.Line-1]) + 1
		}
		f.Excerpt = string(lines[f.Line-1])
	}
}

// blot puts stars over a scalar. Nodes know their start only, so the end is
// found again; a little too much does no harm.
func blot(lines [][]rune, n *yaml.Node) {
	if n.Line < 1 || n.Line > len(lines) {
		return
	}
	row := lines[n.Line-1]
	at := min(max(n.Column-1, 0), len(row))
	switch {
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		blotQuoted(lines, n.Line-1, at)
	case n.Style == 0 && starts(row[at:], n.Value):
		stars(row[at : at+utf8.RuneCountInString(n.Value)])
	default:
		stars(row[at:])
		blotLines(lines[n.Line:])
	}
}

func starts(row []rune, text string) bool {
	of := []rune(text)
	return len(of) <= len(row) && slices.Equal(row[:len(of)], of)
}

// stars covers what is not covered yet.
func stars(row []rune) {
	for i := range row {
		row[i] = '*'
	}
}

// blotQuoted covers from a quote, or what stands before it, to the one that
// closes it.
func blotQuoted(lines [][]rune, line, at int) {
	var quote rune
	for ; line < len(lines); line, at = line+1, 0 {
		row := lines[line]
		for i := at; i < len(row); i++ {
			r := row[i]
			row[i] = '*'
			switch {
			case quote == 0 && (r == '"' || r == '\''):
				quote = r
			case quote == 0:
			case r == '\\' && quote == '"', r == '\'' && quote == r && i+1 < len(row) && row[i+1] == r:
				if i++; i < len(row) {
					row[i] = '*'
				}
			case r == quote:
				return
			}
		}
	}
}

// blotLines covers the further lines of a scalar that has no closing sign: all
// until one that has a key or an item of its own, and of that what stands
// before a sign that ends the scalar.
func blotLines(lines [][]rune) {
	for _, row := range lines {
		text := strings.TrimSpace(string(row))
		key := slices.IndexFunc(row, func(r rune) bool { return r == ':' })
		if key < 0 && !strings.HasPrefix(text, "- ") {
			stars(row)
			continue
		}
		if key < 0 {
			key = len(row)
		}
		if end := slices.IndexFunc(row[:key], func(r rune) bool { return strings.ContainsRune(",]}", r) }); end >= 0 {
			stars(row[:end])
		}
		return
	}
}
