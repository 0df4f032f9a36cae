package expression

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/builtin"
)

// function is one that expressions may call.
type function struct {
	// call replaces the library's own; nil: it is that.
	call func(m *meter, args []any) (any, error)
	// deep: it looks into what lists and maps hold.
	deep bool
	// own has the types of a function that the library does not have.
	own any
}

// functions is the table of all that may be called. Those of the library that
// make much out of little (repeat, groupBy, reduce ...) or depend on the machine
// (now) are not in it.
func functions() map[string]function {
	return map[string]function{
		// lists, with a predicate; the library carries them out
		"all": {}, "any": {}, "none": {}, "one": {}, "filter": {}, "map": {}, "find": {}, "count": {}, "sum": {},
		// numbers
		"abs": {}, "ceil": {}, "floor": {}, "round": {}, "int": {}, "float": {}, "max": {}, "min": {},
		// texts
		"trim": {}, "trimPrefix": {}, "trimSuffix": {}, "upper": {}, "lower": {}, "split": {}, "indexOf": {}, "lastIndexOf": {},
		"hasPrefix": {}, "hasSuffix": {}, "replace": {call: replace}, "join": {call: join, deep: true},
		// values
		"len": {}, "type": {}, "first": {}, "last": {}, "keys": {call: keys}, "values": {call: values},
		"string": {call: text, deep: true}, "toJSON": {call: toJSON, deep: true}, "fromJSON": {call: fromJSON},
		// times
		"date": {}, "duration": {},
		"format":  {call: format, own: new(func(any, string) string)},
		"weekday": {call: weekday, own: new(func(any) string)},
		"zone":    {call: zone, own: new(func(any, string) time.Time)},
	}
}

// predicates are the functions whose second argument is carried out for each
// item of the first.
func predicates() []string {
	return []string{"all", "any", "none", "one", "filter", "map", "find", "count", "sum"}
}

// declare makes the own functions known to the library, and what it has beyond
// the table unknown. A nil meter is for checking only.
func declare(m *meter) []expr.Option {
	table := functions()
	var options []expr.Option
	for _, name := range builtin.Names {
		if _, ok := table[name]; !ok {
			options = append(options, expr.DisableBuiltin(name))
		}
	}
	for name, f := range table {
		if f.own != nil {
			options = append(options, expr.Function(name, m.metered(name, f), f.own))
		}
	}
	return options
}

// metered is the function with its cost charged before it is carried out.
func (m *meter) metered(name string, f function) func(...any) (any, error) {
	return func(args ...any) (any, error) {
		for _, arg := range args {
			if err := m.weigh(arg, f.deep); err != nil {
				return nil, err
			}
		}
		if f.call != nil {
			return f.call(m, args)
		}
		i, ok := builtin.Index[name]
		if !ok {
			return nil, fmt.Errorf("there is no function %s", name)
		}
		switch b := builtin.Builtins[i]; {
		case b.Fast != nil && len(args) == 1:
			return b.Fast(args[0]), nil
		case b.Func != nil:
			return b.Func(args...)
		case b.Safe != nil:
			value, _, err := b.Safe(args...)
			return value, err
		}
		return nil, fmt.Errorf("the function %s takes other arguments", name)
	}
}

func texts(name string, args []any, least, most int) ([]string, error) {
	if len(args) < least || len(args) > most {
		return nil, fmt.Errorf("%s takes %d arguments", name, least)
	}
	var list []string
	for _, arg := range args {
		s, ok := arg.(string)
		if !ok {
			return nil, fmt.Errorf("%s takes texts, not %s", name, kindOf(arg))
		}
		list = append(list, s)
	}
	return list, nil
}

func replace(m *meter, args []any) (any, error) {
	s, err := texts("replace", args, 3, 3)
	if err != nil {
		return nil, err
	}
	if err := m.charge(strings.Count(s[0], s[1]) * len(s[2])); err != nil {
		return nil, err
	}
	return strings.ReplaceAll(s[0], s[1], s[2]), nil
}

func join(m *meter, args []any) (any, error) {
	if len(args) == 0 || len(args) > 2 {
		return nil, fmt.Errorf("join takes a list and what goes between")
	}
	glue := ""
	if len(args) == 2 {
		s, ok := args[1].(string)
		if !ok {
			return nil, fmt.Errorf("join takes a text to put between, not %s", kindOf(args[1]))
		}
		glue = s
	}
	items, ok := listOf(args[0])
	if !ok {
		return nil, fmt.Errorf("join takes a list, not %s", kindOf(args[0]))
	}
	if err := m.charge(len(items) * len(glue)); err != nil {
		return nil, err
	}
	parts := make([]string, len(items))
	for i, item := range items {
		var err error
		if parts[i], err = textOf(item); err != nil {
			return nil, err
		}
	}
	return strings.Join(parts, glue), nil
}

// listOf is any list that an expression can have.
func listOf(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case []string:
		list := make([]any, len(v))
		for i := range v {
			list[i] = v[i]
		}
		return list, true
	case []int:
		list := make([]any, len(v))
		for i := range v {
			list[i] = v[i]
		}
		return list, true
	}
	return nil, false
}

// keys are sorted, so that the same values give the same settings.
func keys(_ *meter, args []any) (any, error) {
	of, err := mapArgument("keys", args)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, key := range slices.Sorted(maps.Keys(of)) {
		list = append(list, key)
	}
	return list, nil
}

func values(_ *meter, args []any) (any, error) {
	of, err := mapArgument("values", args)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, key := range slices.Sorted(maps.Keys(of)) {
		list = append(list, of[key])
	}
	return list, nil
}

func mapArgument(name string, args []any) (map[string]any, error) {
	if len(args) == 1 {
		if of, ok := args[0].(map[string]any); ok {
			return of, nil
		}
		return nil, fmt.Errorf("%s takes a map, not %s", name, kindOf(args[0]))
	}
	return nil, fmt.Errorf("%s takes one map", name)
}

func text(_ *meter, args []any) (any, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("string takes one value")
	}
	return textOf(args[0])
}

func toJSON(_ *meter, args []any) (any, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("toJSON takes one value")
	}
	data, err := encode(args[0])
	return string(data), err
}

func fromJSON(m *meter, args []any) (any, error) {
	s, err := texts("fromJSON", args, 1, 1)
	if err != nil {
		return nil, err
	}
	if err := m.charge(16 * len(s[0])); err != nil { // what each sign may become
		return nil, err
	}
	return decode([]byte(s[0]))
}

func timeArgument(name string, args []any, count int) (time.Time, error) {
	if len(args) != count {
		return time.Time{}, fmt.Errorf("%s takes %d arguments", name, count)
	}
	at, ok := args[0].(time.Time)
	if !ok {
		return at, fmt.Errorf("%s takes a time, not %s", name, kindOf(args[0]))
	}
	return at, nil
}

func weekday(_ *meter, args []any) (any, error) {
	at, err := timeArgument("weekday", args, 1)
	if err != nil {
		return nil, err
	}
	return at.Weekday().String(), nil
}

func zone(_ *meter, args []any) (any, error) {
	at, err := timeArgument("zone", args, 2)
	if err != nil {
		return nil, err
	}
	name, ok := args[1].(string)
	if !ok || name == "Local" {
		return nil, fmt.Errorf("zone takes the name of a time zone, as Europe/Berlin")
	}
	there, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("there is no time zone %q", name)
	}
	return at.In(there), nil
}

// format knows the signs of strftime that name parts of a date and a time.
func format(m *meter, args []any) (any, error) {
	at, err := timeArgument("format", args, 2)
	if err != nil {
		return nil, err
	}
	layout, ok := args[1].(string)
	if !ok {
		return nil, fmt.Errorf("format takes a layout, not %s", kindOf(args[1]))
	}
	if err := m.charge(8 * len(layout)); err != nil {
		return nil, err
	}
	out := &strings.Builder{}
	for i := 0; i < len(layout); i++ {
		if layout[i] != '%' {
			out.WriteByte(layout[i])
			continue
		}
		i++
		if i == len(layout) {
			return nil, fmt.Errorf("the layout ends with a %%: write %%%% for the sign itself")
		}
		if err := formatPart(out, at, layout[i]); err != nil {
			return nil, err
		}
	}
	return out.String(), nil
}

func formatPart(out *strings.Builder, at time.Time, sign byte) error {
	layouts := map[byte]string{
		'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'y': "06", 'j': "002", 'a': "Mon", 'A': "Monday",
		'b': "Jan", 'B': "January", 'z': "-0700", 'Z': "MST", 'F': "2006-01-02", 'T': "15:04:05", 'I': "03", 'p': "PM",
	}
	switch layout, ok := layouts[sign]; {
	case ok:
		out.WriteString(at.Format(layout))
	case sign == '%':
		out.WriteByte('%')
	case sign == 's':
		fmt.Fprintf(out, "%d", at.Unix())
	case sign == 'V':
		_, week := at.ISOWeek()
		fmt.Fprintf(out, "%02d", week)
	case sign == 'G':
		year, _ := at.ISOWeek()
		fmt.Fprintf(out, "%04d", year)
	case sign == 'u':
		fmt.Fprintf(out, "%d", (int(at.Weekday())+6)%7+1)
	default:
		return fmt.Errorf("the layout has %%%c, which is none of the signs %%Y %%m %%d %%H %%M %%S %%y %%j %%a %%A %%b %%B %%I %%p %%z %%Z %%F %%T %%s %%G %%V %%u", sign)
	}
	return nil
}
