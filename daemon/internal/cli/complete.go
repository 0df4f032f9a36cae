package cli

import (
	"context"
	"slices"
	"strings"
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

// completeManyTasks goes on where several tasks may be named, each once.
func (e *env) completeManyTasks(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	all, directive := e.completeTasks(cmd, nil, typed)
	return slices.DeleteFunc(all, func(name string) bool {
		name, _, _ = strings.Cut(name, "\t")
		return slices.Contains(args, name)
	}), directive
}

// completeTasksAndFiles offers tasks, and files as soon as a path begins.
func (e *env) completeTasksAndFiles(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if strings.ContainsRune(typed, '/') {
		return completeTaskFiles(cmd, args, typed)
	}
	return e.completeManyTasks(cmd, args, typed)
}

// completeStepFlag offers the steps of the task, or of the run's task, that the
// command line names.
func (e *env) completeStepFlag(cmd *cobra.Command, flag string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return e.stepsOfTask(cmd, args)
	})
}

// completeTaskSteps offers a task and then one step of it.
func (e *env) completeTaskSteps(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return e.completeTasks(cmd, args, typed)
	case 1:
		return e.stepsOfTask(cmd, args)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completeRunSteps offers a run and then one step of it.
func (e *env) completeRunSteps(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return e.completeRuns(cmd, args, typed)
	case 1:
		return e.stepsOfRun(cmd, args)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func (e *env) stepsOfTask(cmd *cobra.Command, args []string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	if len(args) == 0 {
		return nil, directive
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	name, _, _ := strings.Cut(args[0], "/")
	t, err := e.client().Task(ctx, name)
	if err != nil {
		return nil, directive
	}
	var names []string
	for _, s := range t.Steps {
		if !slices.Contains(args[1:], s.Name) {
			names = append(names, cobra.CompletionWithDesc(s.Name, s.Controller))
		}
	}
	return names, directive
}

// stepsOfRun offers the steps of the run's definition and what runs of those
// that they planned.
func (e *env) stepsOfRun(cmd *cobra.Command, args []string) ([]string, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	if len(args) == 0 {
		return nil, directive
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
	defer cancel()
	d, err := e.client().Run(ctx, args[0])
	if err != nil {
		return nil, directive
	}
	var names []string
	seen := map[string]bool{}
	for _, s := range append(append(d.Steps, d.Active...), d.Faults...) {
		if !seen[s.Name] {
			seen[s.Name] = true
			names = append(names, cobra.CompletionWithDesc(s.Name, s.Status))
		}
	}
	return names, directive
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

// completeAliveRuns offers those that can be cancelled, each once.
func (e *env) completeAliveRuns(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return e.refs(cmd, nil, func(r *api.Run) bool { return r.Alive() && !slices.Contains(args, r.Ref) })
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
