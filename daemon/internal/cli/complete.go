package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/stepd/stepd/daemon/internal/api"
)

// completeTimeout is how long a Tab may wait for the daemon.
const completeTimeout = time.Second

func completeTaskFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeTasks offers the names of tasks. A daemon that does not answer has
// none to offer; that is no error at a prompt.
func (e *env) completeTasks(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	page, err := e.client().Tasks(ctx, api.TaskQuery{Limit: api.MaxPage})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, t := range page.Items {
		names = append(names, cobra.CompletionWithDesc(t.Name, t.Description))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (e *env) completeTaskFlag(cmd *cobra.Command, flag string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return e.completeTasks(cmd, nil, typed)
	})
}

// completeScheduleFlag offers the schedules of the task that the command line
// names.
func (e *env) completeScheduleFlag(cmd *cobra.Command, of func(args []string) string) {
	_ = cmd.RegisterFlagCompletionFunc("schedule", func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		t, err := e.client().Task(ctx, of(args))
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, s := range t.Schedules {
			names = append(names, cobra.CompletionWithDesc(s.Name, s.Summary))
		}
		if t.Expect != nil {
			names = append(names, cobra.CompletionWithDesc(api.ExpectSchedule, "a completed run by "+t.Expect.By))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

// completeRuns offers the newest runs, newest first.
func (e *env) completeRuns(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return e.refs(cmd, args, func(*api.Run) bool { return true })
}

func (e *env) completeAliveRuns(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return e.refs(cmd, args, (*api.Run).Alive)
}

func (e *env) refs(cmd *cobra.Command, args []string, want func(*api.Run) bool) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	if len(args) > 0 {
		return nil, directive
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	page, err := e.client().Runs(ctx, api.RunQuery{Limit: api.PageSize})
	if err != nil {
		return nil, directive
	}
	var refs []string
	for _, r := range page.Items {
		if want(&r) {
			refs = append(refs, cobra.CompletionWithDesc(r.Ref, r.Status))
		}
	}
	return refs, directive
}
