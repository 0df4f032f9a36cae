package openapi

import (
	"fmt"
	"strings"
)

const textWidth = 78

// Text is the description for people who read it in a terminal.
func Text() (string, error) {
	v, err := viewed()
	if err != nil {
		return "", err
	}
	var t text
	t.heading("The socket of stepd")
	for _, paragraph := range v.Introduction {
		t.wrap("", "", paragraph)
		t.line("")
	}
	for _, g := range v.Groups {
		t.heading(g.Name)
		for _, r := range g.Routes {
			t.route(&r)
		}
	}
	t.heading("Objects")
	t.wrap("", "", "Each answer has schema too, the version of the JSON. Fields with a * are always there; the others are left out when they have nothing to say. Times are as RFC 3339 writes them.")
	t.line("")
	for _, o := range v.Objects {
		t.line(o.Name)
		t.wrap("  ", "  ", o.Text)
		t.fields(o.Fields)
		t.line("")
	}
	t.heading("Errors")
	for _, c := range v.Codes {
		t.wrap(fmt.Sprintf("  %-10s  %d  ", c.Code, c.Status), strings.Repeat(" ", 19), c.Text)
	}
	return t.String(), nil
}

type text struct{ strings.Builder }

func (t *text) line(line string) { t.WriteString(line + "\n") }

func (t *text) heading(name string) {
	if t.Len() > 0 {
		t.line("")
	}
	t.line(strings.ToUpper(name))
	t.line("")
}

func (t *text) route(r *routeView) {
	t.line(r.Method + " " + r.Path)
	t.wrap("  ", "  ", r.Summary+". "+r.Description)
	also := r.Permission
	if r.Action != "" {
		also += " In the audit log it is " + r.Action + "."
	}
	t.wrap("  ", "  ", also)
	t.fields(r.Takes)
	if r.Body != nil {
		option := ""
		if r.Option {
			option = ", which may be left out"
		}
		t.wrap("  ", "  ", "Takes "+r.BodyOf.String()+option+".")
	}
	answers := "Answers " + r.AnswerOf.String()
	if r.Streams != "" {
		answers += ", " + r.Streams
	}
	var codes []string
	for _, code := range r.Refused {
		codes = append(codes, string(code))
	}
	t.wrap("  ", "  ", answers+"; or an error: "+strings.Join(codes, ", ")+".")
	t.line("")
	t.line("    " + r.Example) // whole, so that it can be copied
	t.line("")
}

func (t *text) fields(fields []fieldView) {
	for _, f := range fields {
		name := f.Name
		if f.Must {
			name += "*"
		}
		what := f.Text
		if len(f.Type.Words) > 0 {
			what += " One of: " + strings.Join(f.Type.Words, ", ") + "."
		}
		t.wrap("    ", "        ", name+"  ("+f.Type.String()+")  "+what)
	}
}

// wrap writes the text in lines of at most textWidth letters.
func (t *text) wrap(first, others, what string) {
	line, empty := first, true
	for word := range strings.FieldsSeq(what) {
		if !empty && len(line)+1+len(word) > textWidth {
			t.line(line)
			line, empty = others, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	t.line(strings.TrimRight(line, " "))
}
