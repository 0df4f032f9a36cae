package cli

import (
	"github.com/spf13/cobra"
)

// newHelp takes the place of the library's own, which shows the help of
// something else where it does not know a word.
func newHelp(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND|TOPIC]",
		Short: "Help about any command or topic",
		Example: `  stepd help run
  stepd help expressions`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			of, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, sub := range of.Commands() {
				if known(sub) {
					names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			of, rest, err := cmd.Root().Find(args)
			if err != nil {
				of, rest = cmd.Root(), args
			}
			if len(rest) > 0 && isGroup(of) {
				return e.group(of, rest)
			}
			of.InitDefaultHelpFlag()
			return of.Help()
		},
	}
}

// known reports whether people are to hear of a command: it can be carried out,
// or its help is what it is for.
func known(c *cobra.Command) bool { return c.IsAvailableCommand() || c.IsAdditionalHelpTopicCommand() }
