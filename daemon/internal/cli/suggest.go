package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stepd/stepd/daemon/internal/api"
	"github.com/stepd/stepd/daemon/internal/api/client"
)

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// nearest is the known word that comes closest to what was typed, "" when none
// comes close.
func nearest(typed string, known []string) string {
	best, bestAt := "", max(1, len([]rune(typed))/3)+1
	for _, k := range known {
		d := distance(strings.ToLower(typed), strings.ToLower(k))
		if d > 1 && len(typed) > 2 && (strings.HasPrefix(k, typed) || strings.HasPrefix(typed, k)) {
			d = 1
		}
		if d < bestAt {
			best, bestAt = k, d
		}
	}
	return best
}

// distance counts the letters that were added, left out, changed or swapped.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	before, row, next := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range row {
		row[j] = j
	}
	for i := range s {
		next[0] = i + 1
		for j := range t {
			change := row[j]
			if s[i] != t[j] {
				change++
			}
			next[j+1] = min(change, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && s[i] == t[j-1] && s[i-1] == t[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(t)]
}

// unknown adds to an error about a name that is not there what may have been
// meant. name is a task's or a ref.
func unknown(ctx context.Context, c *client.Client, name string, err error) error {
	fault, ok := errors.AsType[*api.Error](err)
	if err == nil || !ok || fault.Code != api.CodeNotFound || fault.Hint != "" {
		return err
	}
	typed, number, isRef := strings.Cut(name, "/")
	var known []string
	after := ""
	for range 4 { // enough to help
		page, e := c.Tasks(ctx, api.TaskQuery{After: after, Limit: api.MaxPage})
		if e != nil {
			return err
		}
		for _, t := range page.Items {
			known = append(known, t.Name)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if slices.Contains(known, typed) {
		if isRef {
			return withHint(err, fmt.Sprintf("its runs: stepd runs %s", typed))
		}
		return withHint(err, fmt.Sprintf("it has not run yet: stepd run %s", typed))
	}
	near := nearest(typed, known)
	switch {
	case near != "" && isRef:
		return withHint(err, fmt.Sprintf("did you mean %q?", near+"/"+number))
	case near != "":
		return withHint(err, fmt.Sprintf("did you mean %q?", near))
	case len(known) == 0:
		return withHint(err, "there are no tasks yet: stepd apply FILE saves one")
	}
	return withHint(err, "the tasks that there are: stepd tasks")
}

// unknownOf is unknown for an error about one of several names.
func (e *env) unknownOf(ctx context.Context, c *client.Client, names []string, err error) error {
	for _, name := range names {
		if strings.Contains(err.Error(), strconv.Quote(name)) {
			return unknown(ctx, c, name, err)
		}
	}
	return err
}
