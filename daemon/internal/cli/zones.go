package cli

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// zoneList is where machines list the zones of the world.
const zoneList = "/usr/share/zoneinfo/zone.tab"

func completeTimezone(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("timezone", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return zoneNames(zoneList), cobra.ShellCompDirectiveNoFileComp
	})
}

// zoneNames are the names in such a list, or, without one, some that many people
// live in.
func zoneNames(file string) []string {
	names := []string{"UTC"}
	text, err := os.ReadFile(file)
	if err != nil {
		return append(names, "Africa/Cairo", "Africa/Johannesburg", "Africa/Lagos", "America/Chicago", "America/Denver", "America/Los_Angeles",
			"America/Mexico_City", "America/New_York", "America/Sao_Paulo", "America/Toronto", "Asia/Dubai", "Asia/Jakarta", "Asia/Kolkata",
			"Asia/Shanghai", "Asia/Singapore", "Asia/Tokyo", "Australia/Sydney", "Europe/Amsterdam", "Europe/Berlin", "Europe/Istanbul",
			"Europe/London", "Europe/Madrid", "Europe/Paris", "Europe/Rome", "Europe/Vienna", "Europe/Warsaw", "Europe/Zurich", "Pacific/Auckland")
	}
	for line := range strings.Lines(string(text)) {
		// A country, where in it, and the name.
		if fields := strings.Fields(line); len(fields) >= 3 && !strings.HasPrefix(line, "#") {
			names = append(names, fields[2])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
