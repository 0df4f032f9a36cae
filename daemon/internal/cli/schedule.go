package cli

import "github.com/spf13/cobra"

func newSchedule(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "Explain schedules, and tell what became of due times",
		Args:  cobra.ArbitraryArgs,
		RunE:  e.group,
	}
	cmd.AddCommand(newExplain(e), newHistory(e))
	return cmd
}
