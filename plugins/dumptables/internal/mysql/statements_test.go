package mysql

import (
	"errors"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func all(t testing.TB, text string) (list []string) {
	t.Helper()
	s := newStatements(strings.NewReader(text))
	for {
		one, err := s.next()
		if errors.Is(err, io.EOF) {
			if int(s.read) != len(text) {
				t.Errorf("read %d bytes of %d", s.read, len(text))
			}
			return list
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		list = append(list, string(one))
	}
}

func TestStatementsEndWhereTheyEnd(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "",
		"-- a; b\n# c; d\n;;":   "",
		"A;B ; C;":              "A|B |C",
		"A ';' \";\" `;` ;B;":   "A ';' \";\" `;` |B",
		`A '\';' ;B '\\';C;`:    `A '\';' |B '\\'|C`,
		"A 'it'';';B `a``;\\`;": "A 'it'';'|B `a``;\\`",
		"A /* ; */ ;/* ; */B;":  "A /* ; */ |B",
		"/*M!1 A; */;/*! B */;": "/*M!1 A; */|/*! B */",
		"A -- ;\n B;":           "A -- ;\n B",
		"A--;B;":                "A--|B",
		"DELIMITER ;;\nA; 'B\n;;x\n\n;;\nDELIMITER ;\nC;": "A; 'B\n;;x\n|C",
	} {
		if got := strings.Join(all(t, text), "|"); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"A", "A '", "A `;", "/*M! ;", "DELIMITER ;;\nA;\n", "A '\\';"} {
		s := newStatements(strings.NewReader(text))
		var err error
		for err == nil {
			_, err = s.next()
		}
		if errors.Is(err, io.EOF) {
			t.Errorf("%q ends as if it was whole", text)
		}
	}
}

// Whatever stands in values, names and programs: statements that are written are
// read again, one by one.
func TestStatementsOfAScriptAreReadAgain(t *testing.T) {
	nasty := rapid.StringOf(rapid.RuneFrom([]rune("aZ' \"`;\\\n\r\x00\x1a$/-#*é!M")))
	rapid.Check(t, func(rt *rapid.T) {
		var b strings.Builder
		out := newScript(&b)
		var want []string
		for range rapid.IntRange(1, 6).Draw(rt, "statements") {
			text := nasty.Draw(rt, "text")
			if rapid.Bool().Draw(rt, "program") {
				text = "CREATE " + text
				out.delimited(text)
				want = append(want, text)
				continue
			}
			statement := "INSERT " + quoted(text) + literal(text) + "(1)"
			out.text(statement, ";\n")
			want = append(want, statement)
		}
		if err := out.w.Flush(); err != nil {
			rt.Fatal(err)
		}
		if got := all(t, b.String()); strings.Join(got, "\x01") != strings.Join(want, "\x01") {
			rt.Fatalf("wrote %q, read %q", want, got)
		}
	})
}

func FuzzStatements(f *testing.F) {
	f.Add("DELIMITER ;;\nA;;\n;;\n")
	f.Add("/*M!1 A '*/;")
	f.Fuzz(func(t *testing.T, text string) {
		s := newStatements(strings.NewReader(text))
		for range len(text) + 2 {
			if _, err := s.next(); err != nil {
				return
			}
		}
		t.Errorf("%q never ends", text)
	})
}
