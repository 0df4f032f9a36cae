package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// noEmptyFlags refuses flags that were given an empty value. In a script that
// is a variable which is not set, and the default in its place would be another
// daemon's directory or more than was asked for.
func noEmptyFlags(cmd *cobra.Command) error {
	var empty error
	cmd.Flags().Visit(func(f *pflag.Flag) { // only what was given
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		if empty == nil && slices.Contains(values, "") {
			empty = withHint(usageError("--%s is empty", f.Name), "give it a value, or leave it out")
		}
	})
	return empty
}

// atMostOneOf refuses flags that were given together and rule each other out.
func (e *env) atMostOneOf(flags ...string) error {
	given := ""
	for _, flag := range flags {
		if !e.cmd.Flags().Changed(flag) {
			continue
		}
		if given != "" {
			return withHint(usageError("--%s and --%s are both given", given, flag), "leave one of them out")
		}
		given = flag
	}
	return nil
}

// flagError puts what is wrong with a flag into our own words.
func flagError(err error) error {
	if missing, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return usageError("--%s needs a value", missing.GetFlag().Name)
	}
	invalid, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return usageError("%v", err)
	}
	want := fmt.Sprintf("another value (%v)", errors.Unwrap(invalid))
	switch invalid.GetFlag().Value.Type() {
	case "int", "uint64":
		want = "a number"
		if _, err := strconv.ParseInt(invalid.GetValue(), 10, 64); errors.Is(err, strconv.ErrRange) {
			want = "a smaller number"
		}
	case "bool":
		want = "true or false"
	}
	return usageError("--%s must be %s, not %q", invalid.GetFlag().Name, want, invalid.GetValue())
}
