package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const maxThorough = 4 << 10 // bytes of a value whose forms are all looked for

// forms are the ways in which programs write a value without meaning to hide
// it, each once: what a log library, an error with %q, a URL, a header, a shell
// or SQL statement or a dump of a struct makes of it. What else can be made of
// a value, parts of it among them, is not recognised.
func forms(value string) []string {
	all := []string{value, strings.TrimSpace(value)}
	plain := all[0]
	for line := range strings.Lines(value) {
		// Logs have lines. The frame of a key in PEM is no secret.
		line = strings.TrimSpace(line)
		if len(line) >= 2*MinValue && !strings.HasPrefix(line, "-----") {
			all = append(all, line)
		}
	}

	// A log line in JSON is itself quoted where it is a part of another.
	once := escapes(plain)
	texts := append(once, plain)
	for _, text := range once {
		texts = append(texts, escapes(text)...)
	}
	for _, encoded := range []string{url.QueryEscape(plain), url.PathEscape(plain), url.UserPassword("", plain).String()[1:]} {
		texts = append(texts, encoded, regexp.MustCompile(`%[0-9A-F]{2}`).ReplaceAllStringFunc(encoded, strings.ToLower))
	}
	texts = append(texts,
		strings.ReplaceAll(plain, `'`, `'\''`), strings.ReplaceAll(plain, `'`, `''`),
		strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(plain), html.EscapeString(plain))
	all = append(all, texts...)

	// Bytes are shown in these ways, also those of a text that has been escaped;
	// of large values not all of that is worth its memory.
	if len(plain) > maxThorough {
		texts = []string{plain}
	}
	slices.Sort(texts)
	for _, text := range slices.Compact(texts) {
		digits := hex.EncodeToString([]byte(text))
		numbers := strings.Trim(fmt.Sprint([]byte(text)), "[]")
		all = append(all, digits, strings.ToUpper(digits), numbers, strings.ReplaceAll(numbers, " ", ","), strings.ReplaceAll(numbers, " ", ", "))
		for offset := range 3 {
			all = append(all, base64Within(base64.StdEncoding, text, offset), base64Within(base64.URLEncoding, text, offset))
		}
	}

	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(form string) bool { return len(form) < MinValue })
}

// escapes are what stands between quotes in JSON, with and without care for
// HTML, and in Go.
func escapes(text string) []string {
	raw, _ := json.Marshal(text) // a string always can
	escaped := inner(string(raw))
	return []string{escaped, strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(escaped),
		inner(strconv.Quote(text)), inner(strconv.QuoteToASCII(text))}
}

func inner(quoted string) string { return quoted[1 : len(quoted)-1] }

// base64Within is what base64 shows of a value that begins offset bytes behind
// a multiple of three, whatever stands around it, as in "user:password".
func base64Within(encoding *base64.Encoding, value string, offset int) string {
	all := encoding.EncodeToString(append(make([]byte, offset), value...))
	return all[(8*offset+5)/6 : 8*(offset+len(value))/6]
}
