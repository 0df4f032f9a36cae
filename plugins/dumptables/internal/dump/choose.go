package dump

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/stepd/stepd/sdk"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// choose applies the globs. Its errors name a pattern that can only be a
// mistake: a table that is missing from a backup is noticed too late.
func choose(objects []Object, s Settings) (Selection, []Object, error) {
	selection := Selection{Mode: s.Mode, Whole: true, All: slices.Contains(s.Tables, "*")}
	var chosen []Object
	var faults []error
	used := make([]bool, len(s.Tables))
	for _, object := range objects {
		take := false
		for i, pattern := range s.Tables {
			if matchesAny(pattern, object) {
				take, used[i] = true, true
			}
		}
		if take && slices.ContainsFunc(s.Exclude, func(pattern string) bool { return matchesAny(pattern, object) }) {
			take = false
		}
		switch {
		case !take:
			selection.Whole = false
		case !utf8.ValidString(object.Name):
			faults = append(faults, fmt.Errorf("the name of table %q is not valid UTF-8: rename it", object.Name))
		case object.Refused != "":
			faults = append(faults, fmt.Errorf("table %q cannot be dumped: %s; name it in the setting exclude to dump the others", object.Name, object.Refused))
		case object.View:
			selection.Views = append(selection.Views, object.Name)
		default:
			selection.Tables = append(selection.Tables, object.Name)
			chosen = append(chosen, object)
		}
	}
	for _, pattern := range slices.Concat(s.Tables, s.Exclude) {
		if _, err := path.Match(pattern, "x"); err != nil {
			faults = append(faults, fmt.Errorf("settings tables and exclude: %q is not a pattern", pattern))
		}
	}
	for i, pattern := range s.Tables {
		if !used[i] && !strings.ContainsAny(pattern, "*?[") {
			faults = append(faults, fmt.Errorf("setting tables: the database has no table %q", pattern))
		}
	}
	switch {
	case len(faults) > 0:
	case len(objects) == 0:
		faults = append(faults, errors.New("the database has no tables: is it the right one?"))
	case len(chosen) == 0:
		faults = append(faults, fmt.Errorf("no table matches the settings tables %q and exclude %q", s.Tables, s.Exclude))
	}
	return selection, chosen, sdk.Permanent(errors.Join(faults...))
}

func matchesAny(pattern string, object Object) bool {
	return matches(pattern, object.Name) || slices.ContainsFunc(object.Within, func(name string) bool { return matches(pattern, name) })
}

// matches compares without regard to case, as databases do, and treats a slash
// as any other character.
func matches(pattern, name string) bool {
	flat := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "/", "\x01") }
	ok, err := path.Match(flat(pattern), flat(name))
	return err == nil && ok
}

// Names of the steps that are not about one table. No table's step has them.
const (
	schemaStep = "_schema"
	finishStep = "_finish"
	checkStep  = "_check"
	loadStep   = "_load"
)

func stageStep(stage string) string { return "_" + stage }

func ownStep(name string) bool {
	switch name {
	case schemaStep, finishStep, checkStep, loadStep,
		stageStep("routines"), stageStep("views"), stageStep("triggers"), stageStep("large_objects"):
		return true
	}
	return false
}

const maxStepName = 80

var plainName = regexp.MustCompile(`^[\p{L}\p{Nd}_][\p{L}\p{Nd}_.-]*$`)

// stepName is the table's name where that can be the name of a step and of a
// file. Else it is "__" and the name with each byte that belongs to no letter or
// digit of any script, '-' or '.' as '_' and two hex digits; where that is too
// long, its beginning and a hash.
func stepName(table string) string {
	if plainName.MatchString(table) && len(table) <= maxStepName && !strings.HasPrefix(table, "__") &&
		!ownStep(strings.ToLower(table)) {
		return table
	}
	var b strings.Builder
	b.WriteString("__")
	for i, r := range table {
		size := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, size = utf8.DecodeRuneInString(table[i:])
		}
		if r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) || r == '-' || r == '.' {
			b.WriteRune(r)
			continue
		}
		for _, c := range []byte(table[i : i+size]) {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	name := b.String()
	if len(name) > maxStepName {
		sum := sha256.Sum256([]byte(table))
		name = strings.ToValidUTF8(name[:maxStepName-25], "") + "__" + hex.EncodeToString(sum[:10])
	}
	return name
}

// numbered names the files of a dump so that they sort in the order in which
// they have to be loaded.
type numbered struct{ width int }

func number(files int) numbered { return numbered{max(3, len(strconv.Itoa(files)))} }

// file is the name of the i-th; extension says how it is compressed.
func (n numbered) file(i int, name, extension string) string {
	return fmt.Sprintf("%0*d-%s.sql%s", n.width, i, name, extension)
}

var dumpFile = regexp.MustCompile(`^\.?[0-9]{3,}-[\p{L}\p{Nd}_.-]+\.sql(\.gz|\.zst)?(\.tmp)?$`)
