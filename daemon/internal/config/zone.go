package config

import (
	"os"
	"path/filepath"
	"strings"
)

// machineZone is the name of the machine's time zone, as its other programs
// find it: the variable TZ (empty: UTC), the file that etc/localtime points to,
// the name in etc/timezone; UTC where nothing says so. A TZ that is no name,
// but a rule such as CET-1CEST, is returned as it is.
func machineZone(env func(string) (string, bool), etc string) string {
	if tz, ok := env("TZ"); ok {
		tz = strings.TrimPrefix(strings.TrimSpace(tz), ":")
		if name, ok := zoneFile(tz); ok {
			return name
		}
		if tz == "" {
			return "UTC"
		}
		return tz
	}
	if target, err := os.Readlink(filepath.Join(etc, "localtime")); err == nil {
		if name, ok := zoneFile(target); ok {
			return name
		}
	}
	if data, err := os.ReadFile(filepath.Join(etc, "timezone")); err == nil {
		line, _, _ := strings.Cut(string(data), "\n")
		if name := strings.TrimSpace(line); name != "" {
			return name
		}
	}
	return "UTC"
}

// zoneFile is the name of the zone that a file of the database holds.
func zoneFile(path string) (name string, ok bool) {
	_, name, ok = strings.Cut(path, "/zoneinfo/")
	for _, variant := range []string{"posix/", "right/"} {
		name = strings.TrimPrefix(name, variant)
	}
	return name, ok && name != ""
}
