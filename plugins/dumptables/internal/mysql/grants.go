package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/stepd/stepd/sdk"
)

// mayShow refuses a user from whom the server hides triggers, events or routines:
// they would be missing from the dump without a word. What it may see of tables
// shows when they are read.
func (c *conn) mayShow(ctx context.Context, s *server, all bool) error {
	var grants []string
	err := c.each(ctx, func(rows *sql.Rows) error {
		var grant string
		err := rows.Scan(&grant)
		grants = append(grants, grant)
		return err
	}, "SHOW GRANTS")
	if err != nil {
		return fmt.Errorf("read the rights of the user: %w", err)
	}
	wanted := []string{"TRIGGER"}
	if all {
		wanted = append(wanted, "EVENT", "EXECUTE")
	}
	var lacks []string
	for _, right := range wanted {
		if !granted(grants, s.database, right) {
			lacks = append(lacks, right)
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	names := strings.Join(lacks, ", ")
	return sdk.Permanent(fmt.Errorf("the user %s lacks %s on the database %s, without which the server does not show all that belongs to it, and the dump would not be whole: GRANT %s ON %s.* to the user, or set mode: data_only",
		s.config.User, names, s.database, names, quoted(s.database)))
}

// granted reports whether one of the answers of SHOW GRANTS gives a right in the
// whole database.
func granted(grants []string, database, right string) bool {
	for _, grant := range grants {
		rights, rest, ok := strings.Cut(strings.TrimPrefix(grant, "GRANT "), " ON ")
		if !ok || !strings.HasPrefix(grant, "GRANT ") {
			continue
		}
		scope, _, _ := strings.Cut(rest, " TO ")
		if scope != "*.*" && !scopeHolds(scope, database) {
			continue
		}
		for one := range strings.SplitSeq(rights, ",") {
			one = strings.TrimSpace(one)
			if one == right || one == "ALL PRIVILEGES" || one == "ALL" {
				return true
			}
		}
	}
	return false
}

// scopeHolds matches `data\_base%`.* with a database.
func scopeHolds(scope, database string) bool {
	name, found := strings.CutSuffix(scope, ".*")
	if !found || len(name) < 2 {
		return false
	}
	pattern := strings.ReplaceAll(strings.Trim(name, "`"), "``", "`")
	return like(pattern, database)
}

// like is the LIKE of SQL.
func like(pattern, text string) bool {
	switch {
	case pattern == "":
		return text == ""
	case pattern[0] == '%':
		for i := range len(text) + 1 {
			if like(pattern[1:], text[i:]) {
				return true
			}
		}
		return false
	case text == "":
		return false
	case pattern[0] == '\\' && len(pattern) > 1:
		return pattern[1] == text[0] && like(pattern[2:], text[1:])
	case pattern[0] == '_' || pattern[0] == text[0]:
		return like(pattern[1:], text[1:])
	}
	return false
}
