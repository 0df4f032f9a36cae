package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// writeViews writes views so that each comes after those that it reads from.
func (c *conn) writeViews(ctx context.Context, out *script, views []string) error {
	var database string
	if err := c.one(ctx, []any{&database}, "SELECT DATABASE()"); err != nil {
		return err
	}
	bodies := map[string]string{}
	err := c.each(ctx, func(rows *sql.Rows) error {
		var name, body string
		err := rows.Scan(&name, &body)
		bodies[name] = body
		return err
	}, "SELECT TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS WHERE"+here)
	if err != nil {
		return fmt.Errorf("read the views: %w", err)
	}
	for _, view := range inOrder(database, views, bodies) {
		text, err := c.show(ctx, "SHOW CREATE VIEW "+quoted(view))
		if err != nil {
			return fmt.Errorf("read how view %q is made: %w", view, err)
		}
		out.text("DROP VIEW IF EXISTS ", quoted(view), ";\n")
		out.charset(text)
		out.text(localSequences(text["Create View"], database), ";\n", "SET NAMES utf8mb4;\n")
	}
	return nil
}

// inOrder sorts views by what they read from. The server writes every table in
// the body with its database, so a view is named as `database`.`view`; what only
// looks like that makes a view come later than it has to.
func inOrder(database string, views []string, bodies map[string]string) []string {
	var order []string
	state := map[string]int{} // 1: on the way, 2: done
	var visit func(view string)
	visit = func(view string) {
		if state[view] > 0 {
			return
		}
		state[view] = 1
		for _, other := range views {
			if other != view && strings.Contains(bodies[view], quoted(database)+"."+quoted(other)) {
				visit(other)
			}
		}
		state[view] = 2
		order = append(order, view)
	}
	for _, view := range slices.Sorted(slices.Values(views)) {
		visit(view)
	}
	return order
}
