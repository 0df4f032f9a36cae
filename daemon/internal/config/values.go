package config

import (
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func absolute(path, base string) (string, error) {
	switch {
	case path == "":
		return "", fmt.Errorf("must not be empty")
	case strings.ContainsRune(path, 0):
		return "", fmt.Errorf("must be a path, found %q", path)
	case strings.HasPrefix(path, "~"):
		return "", fmt.Errorf("must be a path without '~', found %q: write the directory itself", path)
	case filepath.IsAbs(path):
		return filepath.Clean(path), nil
	}
	return filepath.Join(base, path), nil
}

func whole(least, most int, to func(*Config) *int) func(*Config, string, string) error {
	return func(c *Config, v, _ string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < least || n > most {
			return fmt.Errorf("must be a whole number from %d to %d, found %q", least, most, v)
		}
		*to(c) = n
		return nil
	}
}

func oneOf(v string, words ...string) (string, error) {
	if slices.Contains(words, v) {
		return v, nil
	}
	return "", fmt.Errorf("must be one of: %s; found %q", strings.Join(words, ", "), v)
}

func checksums(c *Config, values map[string]string) error {
	sums := make(map[string]string, len(values))
	for name, sum := range values {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return fmt.Errorf("must name plugins by their file name alone, found %q", name)
		}
		sum = strings.ToLower(strings.TrimSpace(sum))
		if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 {
			return fmt.Errorf("must give each plugin a SHA-256 of 64 hexadecimal digits, found %q for %s", sum, name)
		}
		sums[name] = sum
	}
	c.PluginChecksums = sums
	return nil
}

// environment refuses the variables that tie a process to the service manager
// or to this daemon: a plugin that has them can speak in the daemon's name.
func environment(c *Config, names []string) error {
	valid := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	kept := make([]string, 0, len(names))
	for _, name := range names {
		switch {
		case !valid.MatchString(name):
			return fmt.Errorf("must hold names of environment variables, found %q", name)
		case name == "NOTIFY_SOCKET", name == "CREDENTIALS_DIRECTORY", strings.HasPrefix(name, "LISTEN_"), strings.HasPrefix(name, "WATCHDOG_"), strings.HasPrefix(name, "STEPD_"):
			return fmt.Errorf("must not hold %s, which is the daemon's own", name)
		}
		if !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	c.PluginEnv = kept
	return nil
}

// ParseSize reads a number of bytes such as 32MiB, 512KiB, 1.5GiB or 0.
func ParseSize(s string) (int64, error) {
	text, factor := s, 1.0
	for _, unit := range []struct {
		name  string
		bytes float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"B", 1}} {
		if head, ok := strings.CutSuffix(s, unit.name); ok {
			text, factor = strings.TrimSpace(head), unit.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	plain := strings.Trim(text, "0123456789.") == ""
	if err != nil || !plain || factor == 1 && strings.Contains(text, ".") || text == s && n != 0 {
		return 0, fmt.Errorf("must be a size with its unit, such as 512KiB, 32MiB or 1GiB; found %q", s)
	}
	if n*factor > 1<<60 {
		return 0, fmt.Errorf("is too large: %s", s)
	}
	return int64(n * factor), nil
}

func size(least, most int64, to func(*Config) *int64) func(*Config, string, string) error {
	return func(c *Config, v, _ string) error {
		n, err := ParseSize(v)
		switch {
		case err != nil:
			return err
		case n < least:
			return fmt.Errorf("must be at least %dMiB, found %s", least>>20, v)
		case n > most:
			return fmt.Errorf("must be at most %dGiB, found %s", most>>30, v)
		}
		*to(c) = n
		return nil
	}
}

func directories(to func(*Config) *[]string) func(*Config, []string, string) error {
	return func(c *Config, values []string, base string) error {
		dirs := make([]string, 0, len(values))
		for _, v := range values {
			dir, err := absolute(v, base)
			if err != nil {
				return err
			}
			if !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
		*to(c) = dirs
		return nil
	}
}

func group(v string) (string, error) {
	if !regexp.MustCompile(`^([0-9]+|[A-Za-z_][A-Za-z0-9_.-]*\$?)$`).MatchString(v) {
		return "", fmt.Errorf("must be the name or the number of a group, found %q", v)
	}
	return v, nil
}

func groups(to func(*Config) *[]string) func(*Config, []string, string) error {
	return func(c *Config, values []string, _ string) error {
		var kept []string
		for _, v := range values {
			name, err := group(v)
			if err != nil {
				return fmt.Errorf("must hold the names or numbers of groups, found %q", v)
			}
			if !slices.Contains(kept, name) {
				kept = append(kept, name)
			}
		}
		*to(c) = kept
		return nil
	}
}

const maxLimit = 1024 // of steps at once

func controllerLimits(c *Config, values map[string]string) error {
	limits := make(map[string]int, len(values))
	name := regexp.MustCompile(`^[\pL\pN_][\pL\pN._-]*(/([\pL\pN_][\pL\pN._-]*|\*))?$`)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !name.MatchString(key) {
			return fmt.Errorf("must name controllers as steps do, or PLUGIN/* for all of a plugin; found %q", key)
		}
		n, err := strconv.Atoi(values[key])
		if err != nil || n < 1 || n > maxLimit {
			return fmt.Errorf("must give each controller a whole number from 1 to %d, found %q for %s", maxLimit, values[key], key)
		}
		limits[key] = n
	}
	c.ControllerLimits = limits
	return nil
}

func secrets(c *Config, values map[string]string) error {
	files := make(map[string]string, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch path := values[name]; {
		case !secretName(name):
			return fmt.Errorf("must have names of letters, digits, '.', '_' and '-' that begin with a letter or digit, at most %d long; found %q", maxSecretName, name)
		case !filepath.IsAbs(path) || strings.ContainsRune(path, 0):
			return fmt.Errorf("must give each secret the absolute path of its file, found %q for %s", path, name)
		default:
			files[name] = filepath.Clean(path)
		}
	}
	c.Secrets = files
	return nil
}

const maxSecretName = 128

// secretName is the rule of package secret: what such a name is in a path.
func secretName(name string) bool {
	return len(name) <= maxSecretName && regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`).MatchString(name)
}
