package taskfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// MaxFile is the largest task file that is read, in bytes.
const MaxFile = 1 << 20

// Source is a task file's text.
type Source struct {
	Name string // shown in errors
	Dir  string // absolute: where relative paths in settings start from
	Data []byte
	// JSON: Data is no file but a document as Document makes it. Its problems have
	// paths, and no lines.
	JSON bool
}

const manySteps = "work that needs more steps than fit here is what controllers that plan are for"

// Examples in hints are of a controller that comes with stepd, and valid as they
// stand.
const (
	exampleSteps = "steps: [{name: one, controller: copyfiles, settings: {source: ./files, target: ./copy}}]"
	smallest     = "a small task file is: {name: hello, " + exampleSteps + "}"
)

// splitLines cuts where the YAML scanner counts a new line.
func splitLines(text string) []string {
	var lines []string
	start := 0
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		end := i
		i += size
		switch r {
		case '\r':
			if i < len(text) && text[i] == '\n' {
				i++
			}
		case '\n', '\u0085', '\u2028', '\u2029':
		default:
			continue
		}
		lines = append(lines, text[start:end])
		start = i
	}
	return append(lines, text[start:])
}

// readDocument brings the text to the node of its one document, or to nil. It
// reports what stands in the way of being YAML at all.
func (p *parser) readDocument(data []byte) *yaml.Node {
	if len(data) > MaxFile {
		p.at(1, 1, "", fmt.Sprintf("the file is %d bytes long, at most %d are allowed", len(data), MaxFile), manySteps)
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	p.lines = splitLines(string(data))
	if !p.checkCharacters() {
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithUniqueKeys(false))
	if err != nil {
		p.at(1, 1, "", "the file cannot be read: "+err.Error(), "")
		return nil
	}
	var first *yaml.Node
	for count := 0; ; count++ {
		var doc yaml.Node
		err := loader.Load(&doc)
		switch {
		case errors.Is(err, io.EOF):
			if count == 0 {
				p.at(1, 1, "", "the file holds no task", smallest)
			}
			return first
		case err != nil:
			p.syntax(err)
			return first
		case count == 0:
			if doc.Kind == yaml.DocumentNode && len(doc.Content) > 0 {
				first = doc.Content[0]
			}
		default:
			p.at(doc.Line, doc.Column, "", "a second document starts here",
				"write one task a file, and nothing after '---'")
			return first
		}
	}
}

// checkCharacters reports, once a line, what YAML text cannot contain.
func (p *parser) checkCharacters() bool {
	fine := true
	for i, line := range p.lines {
		column := 0
		for at := 0; at < len(line); {
			r, size := utf8.DecodeRuneInString(line[at:])
			at += size
			column++
			message, hint := "", ""
			switch {
			case r == utf8.RuneError && size == 1:
				message, hint = "this is not valid UTF-8", "save the file with the encoding UTF-8"
			case r == '\ufeff':
				message, hint = "a byte order mark stands in the middle of the file", "remove it"
			case r < ' ' && r != '\t', r >= 0x7f && r < 0xa0, r == '\ufffe', r == '\uffff':
				message = fmt.Sprintf("the control character %U is not allowed", r)
				hint = `write it as an escape in double quotes, as in "\e" or "\0"`
			default:
				continue
			}
			p.at(i+1, column, "", message, hint)
			fine = false
			break
		}
	}
	return fine
}

// syntax puts the library's error into words.
func (p *parser) syntax(err error) {
	var load *yaml.LoadError
	if !errors.As(err, &load) {
		p.at(1, 1, "", "this is not valid YAML: "+err.Error(), "")
		return
	}
	line, column := load.Mark.Line, load.Mark.Column
	beyond := line >= len(p.lines) && (line > len(p.lines) || strings.TrimSpace(p.lines[line-1]) == "")
	if start := load.ContextMark; start.Line > 0 && (beyond || line == 0) {
		line, column = start.Line, start.Column
	}
	message, hint := load.Message, ""
	var next rune
	if line >= 1 && line <= len(p.lines) {
		if runes := []rune(p.lines[line-1]); column >= 1 && column <= len(runes) {
			next = runes[column-1]
		}
	}
	if at, text := p.star(line); at > 0 && (load.ContextMsg == "while scanning an alias" || strings.HasPrefix(message, "unknown anchor")) {
		p.at(line, at, "", "this is not valid YAML: text that starts with '*' is not in quotes", "put it in quotes: "+quote(text))
		return
	}
	switch {
	case next == '\t' && (strings.Contains(message, "cannot start any token") || strings.Contains(message, "tab character")):
		message, hint = "a tab cannot indent", "indent with spaces"
	case strings.Contains(message, "cannot start any token") && next != 0:
		message, hint = fmt.Sprintf("a value cannot start with %q", next), "put the value in quotes"
	case load.ContextMsg == "while scanning an alias" || load.ContextMsg == "while scanning an anchor":
		message, hint = "a name is missing after '*' or '&'", "put text that starts with '*' or '&' in quotes"
		line, column = load.ContextMark.Line, load.ContextMark.Column
	case strings.Contains(message, "mapping values are not allowed"):
		message, hint = "a ':' is not allowed here", "put text that contains ': ' in quotes, and check the indentation"
	case strings.Contains(message, "could not find expected ':'"):
		message, hint = "a ':' is missing", "write 'key: value', and check the indentation"
		if start := load.ContextMark; start.Line > 0 {
			line, column = start.Line, start.Column
		}
	case strings.Contains(message, "unexpected end of stream") && (next == '"' || next == '\''):
		message, hint = "this quote is never closed", ""
	case load.ContextMsg != "":
		message += " " + load.ContextMsg
		if start := load.ContextMark; start.Line > 0 && start.Line != line {
			hint = fmt.Sprintf("it starts at line %d, column %d", start.Line, start.Column)
		}
	}
	p.at(max(line, 1), max(column, 1), "", "this is not valid YAML: "+message, hint)
}

// star finds in the line a value that starts with a star and is no alias, as a cron
// spec may: its column, and its text.
func (p *parser) star(line int) (column int, text string) {
	if line < 1 || line > len(p.lines) {
		return 0, ""
	}
	row := []rune(p.lines[line-1])
	for i, r := range row {
		if r != '*' || i > 0 && !strings.ContainsRune(" \t[{", row[i-1]) || i+1 < len(row) && (unicode.IsLetter(row[i+1]) || row[i+1] == '_') {
			continue
		}
		text = string(row[i:])
		for _, end := range []string{"}", "]", ", ", " #"} {
			text, _, _ = strings.Cut(text, end)
		}
		return i + 1, strings.TrimSpace(text)
	}
	return 0, ""
}
