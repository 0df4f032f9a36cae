package copyfiles

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// filter says which paths, relative to the source, are copied.
type filter struct {
	include, exclude []string
	given            []string // include as it was written, for people
}

func newFilter(include, exclude []string) (filter, error) {
	if len(include) == 0 {
		include = []string{"**"}
	}
	f := filter{given: include}
	var err error
	if f.include, err = cleanPatterns("include", include); err != nil {
		return filter{}, err
	}
	f.exclude, err = cleanPatterns("exclude", exclude)
	return f, err
}

func cleanPatterns(setting string, patterns []string) ([]string, error) {
	cleaned := make([]string, 0, len(patterns))
	for _, pattern := range patterns {
		switch {
		case pattern == "":
			return nil, fmt.Errorf("%s: an empty pattern matches nothing; write ** for everything", setting)
		case !doublestar.ValidatePattern(pattern):
			return nil, fmt.Errorf("%s: %q is not a valid pattern", setting, pattern)
		case strings.HasPrefix(pattern, "/"), slices.Contains(strings.Split(pattern, "/"), ".."):
			return nil, fmt.Errorf("%s: %q must be relative to the source and stay in it", setting, pattern)
		}
		cleaned = append(cleaned, path.Clean(pattern))
	}
	return cleaned, nil
}

func (f filter) includes(rel string) bool { return matchAny(f.include, rel) }
func (f filter) excludes(rel string) bool { return matchAny(f.exclude, rel) }

func matchAny(patterns []string, rel string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		return doublestar.MatchUnvalidated(pattern, rel)
	})
}

// everything reports whether a pattern stands for all that there is. It holds no
// name that could be mistyped, and an empty source is all that there is too.
func everything(pattern string) bool { return strings.Trim(pattern, "*/") == "" }

// mayContain reports whether something below the directory could be included,
// so that the walk stays out of where nothing can match.
func (f filter) mayContain(dir string) bool {
	parts := strings.Split(dir, "/")
	return slices.ContainsFunc(f.include, func(pattern string) bool {
		if strings.ContainsAny(pattern, "{\\") {
			return true // alternatives may hold slashes
		}
		want := strings.Split(pattern, "/")
		for i, part := range parts {
			if i == len(want)-1 && want[i] != "**" {
				return false // the pattern ends above
			}
			if want[i] == "**" {
				return true
			}
			if !doublestar.MatchUnvalidated(want[i], part) {
				return false
			}
		}
		return true
	})
}
