package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stepd/stepd/sdk"
)

// program is a routine, trigger or event.
type program struct {
	kind, name, table string
}

func (c *conn) programs(ctx context.Context, what, query string) ([]program, error) {
	var list []program
	err := c.each(ctx, func(rows *sql.Rows) error {
		var p program
		err := rows.Scan(&p.kind, &p.name, &p.table)
		list = append(list, p)
		return err
	}, query)
	if err != nil {
		return nil, fmt.Errorf("list the %s: %w", what, err)
	}
	return list, nil
}

func (c *conn) routines(ctx context.Context) ([]program, error) {
	list, err := c.programs(ctx, "routines", "SELECT ROUTINE_TYPE, ROUTINE_NAME, '' FROM information_schema.ROUTINES WHERE"+
		strings.ReplaceAll(here, "TABLE_SCHEMA", "ROUTINE_SCHEMA")+" ORDER BY ROUTINE_NAME, ROUTINE_TYPE")
	// A package's body comes after the package.
	rank := func(p program) int { return slices.Index([]string{"PACKAGE", "PACKAGE BODY"}, strings.ToUpper(p.kind)) }
	slices.SortStableFunc(list, func(a, b program) int {
		switch a, b := rank(a), rank(b); {
		case a < 0 && b < 0:
			return 0
		case a < 0:
			return 1
		case b < 0:
			return -1
		default:
			return a - b
		}
	})
	return list, err
}

// triggers are those of the tables, in the order in which they fire.
func (c *conn) triggers(ctx context.Context, tables []string) ([]program, error) {
	list, err := c.programs(ctx, "triggers", "SELECT 'TRIGGER', TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE"+
		strings.ReplaceAll(here, "TABLE_SCHEMA", "TRIGGER_SCHEMA")+
		" ORDER BY CAST(EVENT_OBJECT_TABLE AS BINARY), ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER")
	return slices.DeleteFunc(list, func(p program) bool { return !slices.Contains(tables, p.table) }), err
}

func (c *conn) events(ctx context.Context) ([]program, error) {
	return c.programs(ctx, "events", "SELECT 'EVENT', EVENT_NAME, '' FROM information_schema.EVENTS WHERE"+
		strings.ReplaceAll(here, "TABLE_SCHEMA", "EVENT_SCHEMA")+" ORDER BY CAST(EVENT_NAME AS BINARY)")
}

func (c *conn) writeRoutines(ctx context.Context, out *script) error {
	list, err := c.routines(ctx)
	if err != nil {
		return err
	}
	return c.writePrograms(ctx, out, list)
}

func (c *conn) writeTriggers(ctx context.Context, out *script, tables []string) error {
	list, err := c.triggers(ctx, tables)
	if err != nil {
		return err
	}
	return c.writePrograms(ctx, out, list)
}

func (c *conn) writeEvents(ctx context.Context, out *script) error {
	list, err := c.events(ctx)
	if err != nil {
		return err
	}
	return c.writePrograms(ctx, out, list)
}

// writePrograms writes each with the modes, character sets and the time zone
// that it was made under: they are part of what it means.
func (c *conn) writePrograms(ctx context.Context, out *script, list []program) error {
	var collation string
	if err := c.one(ctx, []any{&collation}, "SELECT @@collation_database"); err != nil {
		return err
	}
	for _, p := range list {
		text, err := c.show(ctx, "SHOW CREATE "+p.kind+" "+quoted(p.name))
		if err != nil {
			return fmt.Errorf("read how the %s %q is made: %w", strings.ToLower(p.kind), p.name, err)
		}
		create := text["SQL Original Statement"]
		for column, value := range text {
			if strings.HasPrefix(column, "Create ") {
				create = value
			}
		}
		if create == "" {
			return sdk.Permanent(fmt.Errorf("the user may not read the %s %q: GRANT SELECT ON mysql.proc (MySQL: SHOW_ROUTINE) to it", strings.ToLower(p.kind), p.name))
		}
		if p.kind == "TRIGGER" {
			if create, err = c.unqualified(ctx, p, create); err != nil {
				return err
			}
		}
		other := text["Database Collation"]
		if other != "" && other != collation {
			out.text("ALTER DATABASE CHARACTER SET ", charsetOf(other), " COLLATE ", other, ";\n")
		}
		out.charset(text)
		out.text("SET SQL_MODE=", literal(text["sql_mode"]), ";\n")
		if zone := text["time_zone"]; zone != "" {
			out.text("SET TIME_ZONE=", literal(zone), ";\n")
		}
		// Some kinds are known in their own mode only.
		out.text("DROP ", p.kind, " IF EXISTS ", quoted(p.name), ";\n")
		out.delimited(create)
		out.text("SET NAMES utf8mb4;\nSET TIME_ZONE='+00:00', SQL_MODE='", out.mode, "';\n")
		if other != "" && other != collation {
			out.text("ALTER DATABASE CHARACTER SET ", charsetOf(collation), " COLLATE ", collation, ";\n")
		}
	}
	return nil
}

// charset sets what a definition was made under. The definition follows in these
// bytes.
func (s *script) charset(text map[string]string) {
	if client := text["character_set_client"]; client != "" {
		s.text("SET CHARACTER_SET_CLIENT=", client, ", COLLATION_CONNECTION=", text["collation_connection"], ";\n")
	}
}

// charsetOf is the character set of a collation: the name begins with it.
func charsetOf(collation string) string {
	name, _, _ := strings.Cut(collation, "_")
	return name
}

// unqualified is a trigger without its database's name: as it was typed when the
// trigger was made, it would go there wherever it is loaded. Others stay as they
// are, to the byte.
func (c *conn) unqualified(ctx context.Context, p program, create string) (string, error) {
	head, err := triggerHead(create)
	if err != nil || !strings.Contains(head, ".") {
		return create, nil // the server understood it, so it is left alone
	}
	var timing, event, body, definer string
	err = c.one(ctx, []any{&timing, &event, &body, &definer}, "SELECT ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT, DEFINER"+
		" FROM information_schema.TRIGGERS WHERE"+strings.ReplaceAll(here, "TABLE_SCHEMA", "TRIGGER_SCHEMA")+
		" AND TRIGGER_NAME = ? AND CAST(TRIGGER_NAME AS BINARY) = CAST(? AS BINARY)", p.name, p.name)
	if err != nil {
		return "", fmt.Errorf("read trigger %q: %w", p.name, err)
	}
	at := strings.LastIndex(definer, "@")
	if at < 0 {
		return create, nil
	}
	return fmt.Sprintf("CREATE DEFINER=%s@%s TRIGGER %s %s %s ON %s FOR EACH ROW %s",
		quoted(definer[:at]), quoted(definer[at+1:]), quoted(p.name), timing, event, quoted(p.table), body), nil
}

// triggerHead is what stands between TRIGGER and FOR EACH ROW, with names taken
// out of quotes replaced by x.
func triggerHead(create string) (string, error) {
	var b strings.Builder
	reader := newStatements(strings.NewReader(create + "\n;"))
	inside := false
	for {
		start := len(reader.buf)
		kind, err := reader.token()
		if err != nil {
			return "", errors.New("it does not look like a trigger")
		}
		text := string(reader.buf[start:])
		switch {
		case !inside:
			inside = kind == tokenWord && strings.EqualFold(text, "trigger")
		case kind == tokenWord && strings.EqualFold(text, "for"):
			return b.String(), nil
		case kind == tokenQuoted:
			b.WriteByte('x')
		case kind != tokenSpace:
			b.WriteString(text)
		}
	}
}
