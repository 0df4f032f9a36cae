package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

// WriteSchema implements dump.Source. Sequences come first, as columns take their
// defaults from them.
func (s *source) WriteSchema(ctx context.Context, w io.Writer, selection dump.Selection) error {
	var database string // as the server writes it
	if err := s.conn.one(ctx, []any{&database}, "SELECT DATABASE()"); err != nil {
		return s.explain(ctx, err)
	}
	out := newScript(w)
	out.begin("tables and sequences, without rows", looseMode)
	if selection.Whole {
		facts, err := s.Facts(ctx)
		if err != nil {
			return err
		}
		// What is made later takes these as its defaults.
		out.text("ALTER DATABASE CHARACTER SET ", facts.Properties["character_set"], " COLLATE ", facts.Properties["collation"], ";\n")
	}
	for _, sequences := range []bool{true, false} {
		for _, table := range selection.Tables {
			if (s.entry(table).kind == typeSequence) != sequences {
				continue
			}
			create, err := s.unchanged(ctx, table)
			if err != nil {
				return err
			}
			what := "TABLE"
			if sequences {
				what = "SEQUENCE"
				if create, err = s.showSequence(ctx, table); err != nil {
					return err
				}
			}
			out.text("DROP ", what, " IF EXISTS ", quoted(table), ";\n", localSequences(create, database), ";\n")
			if err := s.unlock(ctx); err != nil {
				return err
			}
		}
	}
	return out.end()
}

func (s *source) showSequence(ctx context.Context, name string) (string, error) {
	text, err := s.conn.show(ctx, "SHOW CREATE SEQUENCE "+quoted(name))
	if err != nil {
		return "", s.explain(ctx, fmt.Errorf("read how sequence %q is made: %w", name, err))
	}
	return text["Create Table"], nil
}

// unlock gives the locks on definitions back, so that nobody waits for them.
func (s *source) unlock(ctx context.Context) error {
	return s.explain(ctx, s.conn.exec(ctx, "ROLLBACK TO SAVEPOINT stepd"))
}

// The stages of a dump.
const (
	stageRoutines = "routines"
	stageViews    = "views"
	stageTriggers = "triggers"
)

// Stages implements dump.Source. Views may call functions, and functions do not
// ask for their tables before they are called. Triggers come after all rows.
// What there is nothing of has no stage.
func (s *source) Stages(ctx context.Context, selection dump.Selection) ([]string, error) {
	if selection.Mode != dump.Recreate {
		return nil, nil
	}
	s.snapshot.mu.Lock()
	defer s.snapshot.mu.Unlock()
	if s.snapshot.stages != nil {
		return s.snapshot.stages, nil // those of the plan
	}
	if err := s.conn.mayShow(ctx, s.snapshot.server, selection.All); err != nil {
		return nil, s.explain(ctx, err)
	}
	stages := []string{}
	if selection.All {
		list, err := s.conn.routines(ctx)
		if err != nil {
			return nil, s.explain(ctx, err)
		}
		if len(list) > 0 {
			stages = append(stages, stageRoutines)
		}
	}
	if len(selection.Views) > 0 {
		stages = append(stages, stageViews)
	}
	list, err := s.conn.triggers(ctx, selection.Tables)
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	if len(list) > 0 {
		stages = append(stages, stageTriggers)
	}
	s.snapshot.stages = stages
	return stages, nil
}

// WriteStage implements dump.Source.
func (s *source) WriteStage(ctx context.Context, w io.Writer, selection dump.Selection, stage string) error {
	out := newScript(w)
	out.begin(stage, looseMode)
	var err error
	switch stage {
	case stageRoutines:
		err = s.conn.writeRoutines(ctx, out)
	case stageViews:
		err = s.conn.writeViews(ctx, out, selection.Views)
	case stageTriggers:
		err = s.conn.writeTriggers(ctx, out, selection.Tables)
	default:
		err = sdk.Permanent(errors.New("there is no such stage"))
	}
	if err != nil {
		return s.explain(ctx, err)
	}
	return out.end()
}

// WriteRest implements dump.Source: events, which begin to happen as soon as they
// are there.
func (s *source) WriteRest(ctx context.Context, w io.Writer, selection dump.Selection) error {
	out := newScript(w)
	out.begin("events", looseMode)
	if selection.Mode == dump.Recreate && selection.All {
		if err := s.conn.writeEvents(ctx, out); err != nil {
			return s.explain(ctx, err)
		}
	}
	return out.end()
}
