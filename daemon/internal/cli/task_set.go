package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

type setOptions struct {
	unset   []string
	version uint64
}

func (o *setOptions) flags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&o.unset, "unset", nil, "remove this `KEY`, so that its default holds (may be repeated)")
	versionFlag(cmd, &o.version)
}

// valueHelp explains key=value where it is taken.
const valueHelp = `A value is JSON, or else a text: 3, true and ["a", "b"] are what they look like, a text
that would be JSON is written '"3"'. Dots lead into mappings: settings.mode=data_only.`

func newTaskSet(e *env) *cobra.Command {
	var opts setOptions
	cmd := &cobra.Command{
		Use:   "set NAME KEY=VALUE...",
		Short: "Change keys of a task",
		Long: `Change keys of a task, those of a task file; what is not named stays as it is. Runs
that are under way keep the definition that they began with.

` + valueHelp + `

Steps are changed with stepd task step.`,
		Example: `  stepd task set backup description="Nightly backup" settings.keep=7
  stepd task set backup starter='["www-data", "@shop"]' --unset max_parallel`,
		Args:              wordsAfter(&opts, "NAME"),
		ValidArgsFunction: e.completeTasks,
		RunE: e.run(func(ctx context.Context, c *client.Client, args []string) error {
			for _, word := range slices.Concat(args[1:], opts.unset) {
				if key, _, _ := strings.Cut(word, "="); key == "steps" || strings.HasPrefix(key, "steps.") {
					return withHint(usageError("the steps of a task are changed one by one"), "stepd task step set "+args[0]+" STEP KEY=VALUE")
				}
			}
			patch, err := mergePatch(args[1:], opts.unset)
			if err != nil {
				return err
			}
			saved, err := c.PatchTask(ctx, args[0], api.PatchRequest{Patch: patch, Version: opts.version})
			if err != nil {
				return unknown(ctx, c, args[0], ofWords(err))
			}
			return e.saved(saved, "changed")
		}),
	}
	opts.flags(cmd)
	return cmd
}

// wordsAfter wants some arguments and then key=value words, or --unset.
func wordsAfter(opts *setOptions, what ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(what) {
			return exactly(what...)(cmd, args)
		}
		if len(args) == len(what) && len(opts.unset) == 0 {
			return usageHint(cmd, "KEY=VALUE is missing: what is to be set?")
		}
		return nil
	}
}

// wordFaults are the faults of a change that was typed, not of a file.
type wordFaults struct{ fault *api.Error }

func (w *wordFaults) Error() string { return w.fault.Error() }

func (w *wordFaults) Unwrap() error { return w.fault }

func ofWords(err error) error {
	if fault, ok := errors.AsType[*api.Error](err); ok && len(fault.Problems) > 0 {
		return &wordFaults{fault}
	}
	return err
}
