package cli

import (
	"errors"

	"github.com/spf13/cobra"
)

// ServeOptions are the flags of serve. What is empty was not given: the
// environment, the configuration file and the defaults decide.
type ServeOptions struct {
	Config     string
	Data       string
	Socket     string
	PluginDirs []string
	LogLevel   string
	LogFormat  string
	Timezone   string
}

func newServe(e *env) *cobra.Command {
	var opts ServeOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon, until it is interrupted",
		Long: `Run the daemon in the foreground, until it is interrupted.

On a signal it takes no more work, gives steps the time to save where they are,
and ends. Runs that were under way go on when it is started again.

A flag goes before the environment, that before the configuration file.

` + e.Settings,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if e.Serve == nil {
				return errors.New("this program was built without the daemon")
			}
			opts.Socket = e.socket
			return e.Serve(cmd.Context(), opts)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opts.Config, "config", "", "configuration file")
	f.StringVar(&opts.Data, "data", "", "state directory")
	f.StringArrayVar(&opts.PluginDirs, "plugin-dir", nil, "directory with plugins; may be given several times")
	f.StringVar(&opts.LogLevel, "log-level", "", "debug, info, warn or error")
	f.StringVar(&opts.LogFormat, "log-format", "", "text or json")
	f.StringVar(&opts.Timezone, "timezone", "", "time zone of schedules that name none")
	completeTimezone(cmd)
	_ = cmd.MarkFlagDirname("data")
	_ = cmd.MarkFlagDirname("plugin-dir")
	_ = cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
