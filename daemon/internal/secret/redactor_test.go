package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

const canary = `pä55/w"o\rd'&<+ 0x7f=%$`

func redactor(pairs ...string) *Redactor {
	r := &Redactor{}
	for i := 0; i < len(pairs); i += 2 {
		r.Add(pairs[i], pairs[i+1])
	}
	return r
}

func TestTextHidesWhatProgramsMakeOfAValue(t *testing.T) {
	encode := func(v any) string { raw, _ := json.Marshal(v); return string(raw) }
	for _, value := range []string{canary, "hunter2", "12345678", "line one of it\nand \"two\"\r\n\tthree", "日本語の秘密", "    spaces    ", "four"} {
		r := redactor("db", value)
		for what, text := range map[string]string{
			"plain":                value,
			"within":               "failed: dial user:" + value + "@host",
			"JSON":                 encode(map[string]string{"password": value}),
			"%q":                   fmt.Sprintf("%q", value),
			"%+q":                  fmt.Sprintf("%+q", value),
			"%v of a struct":       fmt.Sprintf("%+v", struct{ Password string }{value}),
			"%v of bytes":          fmt.Sprintf("%v", []byte(value)),
			"JSON in JSON":         encode(encode([]string{strings.Trim(value, "\"\\\n\r\t")})),
			"hex":                  fmt.Sprintf("%x", value),
			"HEX":                  fmt.Sprintf("%X", value),
			"a query":              "https://h/?" + url.Values{"p": {value}}.Encode(),
			"a path":               "https://h/" + url.PathEscape(value),
			"a DSN":                (&url.URL{Scheme: "mysql", User: url.UserPassword("u", value), Host: "h"}).String(),
			"HTML":                 "<b>" + html.EscapeString(value) + "</b>",
			"SQL":                  "IDENTIFIED BY '" + strings.ReplaceAll(value, "'", "''") + "'",
			"a shell":              "mysql '-p" + strings.ReplaceAll(value, "'", `'\''`) + "'",
			"base64":               base64.StdEncoding.EncodeToString([]byte(value)),
			"base64 without =":     base64.RawURLEncoding.EncodeToString([]byte(value)),
			"Basic authentication": "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("root:"+value)),
			"base64 and one byte":  base64.StdEncoding.EncodeToString([]byte("x" + value + "behind")),
			"base64url and two":    base64.URLEncoding.EncodeToString([]byte("xy" + value + "behind")),
			"many":                 value + value + " " + value,
		} {
			got := r.Text(text)
			if !strings.Contains(got, "[secret db]") || strings.Contains(got, value) {
				t.Errorf("%s of %q: %q became %q", what, value, text, got)
			}
			for _, form := range []string{value, url.QueryEscape(value), hex.EncodeToString([]byte(value)), base64.StdEncoding.EncodeToString([]byte(value))} {
				if strings.Contains(got, form) {
					t.Errorf("%s of %q is left in %q", form, value, got)
				}
			}
		}
	}
}

func TestTextKeepsAllElse(t *testing.T) {
	r := redactor("db", "hunter2", "other", "hunter3x")
	for text, want := range map[string]string{
		"":                            "",
		"nothing here":                "nothing here",
		"hunter":                      "hunter",
		"hunter2":                     "[secret db]",
		"a hunter2, a hunter3x, hun":  "a [secret db], a [secret other], hun",
		"hunter2hunter2":              "[secret db][secret db]",
		strings.Repeat("é", 5) + " ↑": strings.Repeat("é", 5) + " ↑",
	} {
		if got := r.Text(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if got := new(Redactor).Text("hunter2"); got != "hunter2" {
		t.Errorf("without values: %q", got)
	}
}

func TestNothingIsLeftOfValuesThatOverlap(t *testing.T) {
	r := redactor("a", "abcdefgh", "b", "efghijkl", "c", "abcdefghijklm")
	for text, want := range map[string]string{
		"<abcdefghijkl>":       "<[secret a][secret b]>",
		"<abcdefghijklm>":      "<[secret c][secret b]>",
		"<abcdefghefghijkl>":   "<[secret a][secret b]>",
		"<abcdefghabcdefghij>": "<[secret a][secret a]ij>",
	} {
		if got := r.Text(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestLinesOfAValueAreHiddenAlone(t *testing.T) {
	r := redactor("key", "-----BEGIN KEY-----\nMC4CAQAwBQYDK2VwBCIEIGxx\nshort\nQmVybGluIGlzdCBlaW5l\n-----END KEY-----")
	for text, want := range map[string]string{
		"12: MC4CAQAwBQYDK2VwBCIEIGxx": "12: [secret key]",
		"QmVybGluIGlzdCBlaW5l":         "[secret key]",
		"-----BEGIN KEY-----":          "-----BEGIN KEY-----",
	} {
		if got := r.Text(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// A text that was cut on its way may end within a value.
func TestTheBeginningOfAValueWhereATextWasCut(t *testing.T) {
	r := redactor("db", "correct horse battery staple")
	long := strings.Repeat("x", longText)
	for text, want := range map[string]string{
		"it said correct hor ...":   "it said [secret db] ...",
		"it said cor ...":           "it said cor ...", // too little to tell
		"it said correct horse bat": "it said correct horse bat",
		long + "correct horse bat":  long + "[secret db]",
		" ...":                      " ...",
	} {
		if got := r.Text(text); got != want {
			t.Errorf("%.60q became %.60q, want %.60q", text, got, want)
		}
	}
}

func TestOlderValuesOfASecretStayHidden(t *testing.T) {
	r := &Redactor{}
	for i := range remembered + 1 {
		r.Add("db", "value-"+strconv.Itoa(1000+i))
		r.Add("db", "value-"+strconv.Itoa(1000+i))
	}
	if got := r.Text("value-1000 value-1001 value-1008"); got != "value-1000 [secret db] [secret db]" {
		t.Errorf("got %q", got)
	}
}

func TestJSONStaysJSON(t *testing.T) {
	r := redactor("db", canary, "pin", "12345678")
	plain, _ := json.Marshal(canary)
	whole := string(plain)
	for raw, want := range map[string]string{
		``:                                       ``,
		`{"a": [1, {"b":null}], "a": 2e3}`:       `{"a": [1, {"b":null}], "a": 2e3}`,
		`{"a":"\u0041 \"<x>"}`:                   `{"a":"A \"<x>"}`,
		`{"password":` + whole + `}`:             `{"password":"[secret db]"}`,
		`[` + whole + `,true,"x",` + whole + `]`: `["[secret db]",true,"x","[secret db]"]`,
		`{` + whole + `:{"deep":[[` + whole + `]],"n":-1.50}}`: `{"[secret db]":{"deep":[["[secret db]"]],"n":-1.50}}`,
		`{"pin":12345678,"near":1234567}`:                      `{"pin":"[secret pin]","near":1234567}`,
		`{"pin":"\u0031\u0032345678"}`:                         `{"pin":"[secret pin]"}`,
		`{"x":"\u0031\u0032345678","x":1}`:                     `{"x":"[secret pin]","x":1}`, // a decoder keeps the last one only
		`[49,50,51,52,53,54,55,56]`:                            `"[secret pin]"`,
		`{"a":[0,49,50,51,52,53,54,55,56]}`:                    `"[secret pin]"`,
		`{"broken":12345678`:                                   `"[secret pin]"`,
	} {
		got := string(r.JSON(json.RawMessage(raw)))
		if got != want {
			t.Errorf("%s\nbecame %s\nwant   %s", raw, got, want)
		}
		if got != "" && !json.Valid([]byte(got)) {
			t.Errorf("%s is no JSON any more: %s", raw, got)
		}
	}
}

func TestReferencesComeBackForWholeValues(t *testing.T) {
	r := redactor("db", canary, "pin", "12345678")
	plain, _ := json.Marshal(canary)
	for raw, want := range map[string]string{
		`{"a": 1}`: `{"a": 1}`,
		`{"password":` + string(plain) + `,"n":1.0}`: `{"password":{"secret":"db"},"n":1.0}`,
		`{"list":["12345678"]}`:                      `{"list":[{"secret":"pin"}]}`,
		`{"dsn":"u:12345678@h"}`:                     "",
		`{"12345678":1}`:                             "",
		`{"pin":12345678}`:                           "",
		`{"bytes":[49,50,51,52,53,54,55,56]}`:        "",
	} {
		got, err := r.References(json.RawMessage(raw))
		inside, isInside := errors.AsType[*InsideError](err)
		if string(got) != want || (want == "") != isInside {
			t.Errorf("%s became %s, %v", raw, got, err)
		}
		if isInside && (inside.Name != "pin" || strings.Contains(err.Error(), "12345678")) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestReplaceFindsReferencesWhereTheyMayStand(t *testing.T) {
	settings := json.RawMessage(`{"big":12345678901234567890,"header":{"secret":"a"},"list":[{"secret":"b"},{"secret":"c","x":1},{"secret":1}],"p":{"secret":"a"}}`)
	value := func(name string) (any, error) { return "<" + name + ">", nil }
	all, err := Replace(settings, nil, value)
	if want := `{"big":12345678901234567890,"header":"<a>","list":["<b>",{"secret":"c","x":1},{"secret":1}],"p":"<a>"}`; err != nil || string(all) != want {
		t.Errorf("anywhere: %s, %v", all, err)
	}
	some, err := Replace(settings, func(path []any) bool { return fmt.Sprint(path) == "[list 0]" || fmt.Sprint(path) == "[p]" }, value)
	if want := `{"big":12345678901234567890,"header":{"secret":"a"},"list":["<b>",{"secret":"c","x":1},{"secret":1}],"p":"<a>"}`; err != nil || string(some) != want {
		t.Errorf("where they may: %s, %v", some, err)
	}
	none, err := Replace(settings, func([]any) bool { return false }, value)
	if err != nil || string(none) != string(settings) {
		t.Errorf("nowhere: %s, %v", none, err)
	}
	if _, err := Replace(settings, nil, func(string) (any, error) { return nil, ErrNone }); !errors.Is(err, ErrNone) {
		t.Errorf("the error of a value: %v", err)
	}
	escaped, err := Replace(json.RawMessage(`{"p":{"\u0073ecret":"a"}}`), nil, value)
	if err != nil || string(escaped) != `{"p":"<a>"}` {
		t.Errorf("an escaped key: %s, %v", escaped, err)
	}
}

// Whatever the values and the text around them: no value is left, what is no
// value is, and JSON stays JSON.
func TestNoValueIsLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringOfN(rapid.RuneFrom([]rune(`abAB01 "\'&<>%+/=-é日`+"\n")), 0, 12, -1)
		values := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune(`abAB01"\'&<>%+/=-é日`)), 4, 20, -1), 1, 4).Draw(t, "values")
		r := &Redactor{}
		var text strings.Builder
		for i, v := range values {
			r.Add("s"+strconv.Itoa(i), v)
			text.WriteString(part.Draw(t, "before") + v)
		}
		text.WriteString(part.Draw(t, "behind"))
		got := r.Text(text.String())
		if !utf8.ValidString(got) {
			t.Fatalf("%q became %q", text.String(), got)
		}
		raw, _ := json.Marshal(map[string]any{"k" + text.String(): []any{text.String(), 1}})
		clean := r.JSON(raw)
		if !json.Valid(clean) {
			t.Fatalf("%s became %s", raw, clean)
		}
		for _, v := range values {
			if strings.Contains(got, v) || strings.Contains(string(clean), v) {
				t.Fatalf("%q is left in %q or %s", v, got, clean)
			}
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"a":"hunter2"}`, `[]`, `"hunter2"`, `{"a":{"b":[1,2,{"hunter2":null}]}}`, `"\ud800hunter2"`, `[[]`, `1 2`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := redactor("db", "hunter2")
		got := r.JSON(raw)
		if json.Valid(raw) && !json.Valid(got) {
			t.Errorf("%q became %q", raw, got)
		}
		if strings.Contains(string(got), "hunter2") {
			t.Errorf("left in %q", got)
		}
	})
}

func TestValuesMayBeAddedWhileTextsAreSearched(t *testing.T) {
	r := &Redactor{}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			value := "value-" + strconv.Itoa(i) + "-of-it"
			r.Add("s", value)
			for range 100 {
				if got := r.Text("x" + value); got != "x[secret s]" {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkText(b *testing.B) {
	line := strings.Repeat("a line of a log that says nothing in particular; ", 4)
	for _, values := range []int{0, 1, 20} {
		b.Run(strconv.Itoa(values), func(b *testing.B) {
			r := &Redactor{}
			for i := range values {
				r.Add("s"+strconv.Itoa(i), "correct horse battery "+strconv.Itoa(i))
			}
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				r.Text(line)
			}
		})
	}
}
