package mysql

import (
	"slices"
	"strings"
)

// localSequences takes the own database's name out of calls like
// nextval(`shop`.`numbers`). The server writes it there always, so that a table
// that is loaded elsewhere would go on counting in the database that it is from.
func localSequences(create, database string) string {
	owner := quoted(database)
	if !strings.Contains(create, "val("+owner+".") {
		return create
	}
	reader := newStatements(strings.NewReader(create))
	var out strings.Builder
	var last []string // the tokens before
	for {
		reader.buf = reader.buf[:0]
		kind, err := reader.token()
		if err != nil {
			return out.String()
		}
		text := string(reader.buf)
		n := len(last)
		switch {
		case kind == tokenQuoted && text == owner && n >= 2 && last[n-1] == "(" && isSequenceCall(last[n-2]):
			last = append(last, owner)
			continue
		case text == "." && n >= 3 && last[n-1] == owner && last[n-2] == "(" && isSequenceCall(last[n-3]):
			last = last[:0]
			continue
		}
		out.WriteString(text)
		last = append(last, text)
		if len(last) > 8 {
			last = slices.Delete(last, 0, 4)
		}
	}
}

func isSequenceCall(word string) bool {
	switch strings.ToLower(word) {
	case "nextval", "lastval", "setval":
		return true
	}
	return false
}
