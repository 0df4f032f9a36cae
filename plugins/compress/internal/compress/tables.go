package compress

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/stepd/stepd/sdk"
)

// table is the output of a step that dumped a table.
type table struct {
	Table  string `json:"table"`
	File   string `json:"file"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	found  bool
}

func readTables(ctx context.Context, step *sdk.Step[CreateSettings]) (map[string]*table, error) {
	tables := map[string]*table{}
	if step.Settings.RowsFrom == "" {
		return tables, nil
	}
	for item, err := range step.Inputs(ctx, step.Settings.RowsFrom, "table") {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			// The daemon has answered that there is no such step. A lost daemon
			// does not hear what this attempt ends with.
			return nil, sdk.Permanent(fmt.Errorf("rows_from: %w", err))
		}
		var one table
		if err := json.Unmarshal(item.Value, &one); err != nil {
			return nil, sdk.Permanent(fmt.Errorf("output table of step %s: %w", item.Step, err))
		}
		tables["tables/"+strings.TrimPrefix(filepath.ToSlash(one.File), "tables/")] = &one
	}
	if len(tables) == 0 {
		return nil, sdk.Permanent(fmt.Errorf("rows_from: step %s has no outputs called table: name the step that dumps the tables, or leave rows_from out",
			step.Settings.RowsFrom))
	}
	return tables, nil
}

func (m *maker) countRows(e *Entry) error {
	t := m.tables[e.Path]
	if t == nil {
		return nil
	}
	t.found = true
	e.Rows = &t.Rows
	if t.SHA256 != "" && t.SHA256 != e.SHA256 {
		return sdk.Permanent(fmt.Errorf("is not what the dump of table %s wrote: its hash differs", t.Table))
	}
	return nil
}

func (m *maker) allTablesFound(walk *walk) error {
	for path, t := range m.tables {
		if !t.found && !walk.excluded(path) {
			return sdk.Permanent(fmt.Errorf("the dump of table %s is not in the source: %s is missing", t.Table, path))
		}
	}
	return nil
}
