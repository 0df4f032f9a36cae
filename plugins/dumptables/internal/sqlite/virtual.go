package sqlite

import (
	"fmt"
	"strings"
)

// virtual is what the statement of a virtual table says.
type virtual struct {
	module string   // in lower case
	args   []string // as written
}

// parseVirtual reads CREATE VIRTUAL TABLE name USING module(args).
func parseVirtual(create string) (virtual, bool) {
	var v virtual
	var words []token
	for _, t := range tokens(create) {
		if t.kind != tokenSpace {
			words = append(words, t)
		}
	}
	if len(words) < 6 || !words[0].is("create") || !words[1].is("virtual") || !words[2].is("table") {
		return v, false
	}
	for i, t := range words {
		if i >= 4 && t.is("using") && i+1 < len(words) {
			v.module = strings.ToLower(unquote(words[i+1].text))
			v.args = arguments(words[i+2:])
			return v, true
		}
	}
	return v, false
}

// arguments splits what is between the outer parentheses at its commas.
func arguments(words []token) []string {
	var args []string
	var arg strings.Builder
	depth := 0
	for _, t := range words {
		switch t.text {
		case "(":
			if depth++; depth == 1 {
				continue
			}
		case ")":
			if depth--; depth == 0 {
				return append(args, arg.String())
			}
		case ",":
			if depth == 1 {
				args = append(args, arg.String())
				arg.Reset()
				continue
			}
		}
		arg.WriteString(t.text)
		if t.kind == tokenWord {
			arg.WriteByte(' ')
		}
	}
	return args
}

func unquote(text string) string {
	if len(text) < 2 {
		return text
	}
	switch q := text[0]; q {
	case '"', '\'', '`':
		return strings.ReplaceAll(text[1:len(text)-1], string(q)+string(q), string(q))
	case '[':
		return text[1 : len(text)-1]
	}
	return text
}

// content is the table that an fts5 table indexes: found is false when it keeps
// its own content, name "" when there is none at all.
func (v virtual) content() (name string, found bool) {
	for _, arg := range v.args {
		key, value, is := strings.Cut(arg, "=")
		if is && strings.EqualFold(strings.TrimSpace(key), "content") {
			return unquote(strings.TrimSpace(value)), true
		}
	}
	return "", false
}

// refused says why the table cannot be dumped, "" when it can.
func (v virtual) refused() string {
	switch v.module {
	case "fts5":
		if name, external := v.content(); external && name == "" {
			return "it is a contentless full-text index, whose text cannot be read back"
		}
		return ""
	case "rtree", "rtree_i32":
		return ""
	}
	return fmt.Sprintf("it is a virtual table of the module %q, which this plugin does not know how to read back", v.module)
}

// external reports whether its rows are another table's.
func (v virtual) external() bool {
	name, found := v.content()
	return v.module == "fts5" && found && name != ""
}
