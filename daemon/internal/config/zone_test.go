package config

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMachineZone(t *testing.T) {
	for name, c := range map[string]struct {
		env            []string
		link, timezone string
		want           string
	}{
		"nothing says so":           {want: "UTC"},
		"TZ":                        {env: []string{"TZ", "Europe/Paris"}, link: "/usr/share/zoneinfo/Asia/Tokyo", want: "Europe/Paris"},
		"TZ as POSIX has it":        {env: []string{"TZ", ":Europe/Paris"}, want: "Europe/Paris"},
		"TZ names a file":           {env: []string{"TZ", ":/usr/share/zoneinfo/Europe/Paris"}, want: "Europe/Paris"},
		"an empty TZ":               {env: []string{"TZ", ""}, link: "/usr/share/zoneinfo/Asia/Tokyo", want: "UTC"},
		"TZ is a rule":              {env: []string{"TZ", "CET-1CEST"}, want: "CET-1CEST"},
		"localtime":                 {link: "/usr/share/zoneinfo/America/Argentina/Salta", timezone: "Asia/Tokyo\n", want: "America/Argentina/Salta"},
		"localtime is relative":     {link: "../usr/share/zoneinfo/posix/Asia/Tokyo", want: "Asia/Tokyo"},
		"localtime goes elsewhere":  {link: "/opt/clock", timezone: "Asia/Tokyo\n", want: "Asia/Tokyo"},
		"timezone":                  {timezone: "  Asia/Tokyo  \nmore\n", want: "Asia/Tokyo"},
		"timezone has nothing":      {timezone: "\n", want: "UTC"},
		"localtime of the database": {link: "/usr/share/zoneinfo/", want: "UTC"},
	} {
		t.Run(name, func(t *testing.T) {
			etc := t.TempDir()
			if c.link != "" {
				if err := os.Symlink(c.link, filepath.Join(etc, "localtime")); err != nil {
					t.Fatal(err)
				}
			}
			if c.timezone != "" {
				if err := os.WriteFile(filepath.Join(etc, "timezone"), []byte(c.timezone), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := machineZone(environ(c.env...), etc); got != c.want {
				t.Errorf("it is %q, want %q", got, c.want)
			}
		})
	}
}

func TestTimezoneOfTheMachineIsTheDefaultOnly(t *testing.T) {
	env := environ("TZ", "Asia/Tokyo", "STEPD_TIMEZONE", "Europe/Rome")
	for want, flags := range map[string][]Flag{"Europe/Rome": nil, "UTC": {{"timezone", "UTC"}}} {
		if got, err := load("", env, true, flags); err != nil || got.Timezone != want {
			t.Errorf("it is %q, want %q: %v", got.Timezone, want, err)
		}
	}
}
