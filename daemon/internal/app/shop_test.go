package app

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepd/stepd/daemon/internal/api/client"
	"github.com/stepd/stepd/daemon/internal/store"
	"github.com/stepd/stepd/daemon/internal/task"
)

// shop is the example of examples/backup, with a small shop, in a directory of
// its own.
type shop struct{ dir string }

func newShop(t testing.TB) shop {
	t.Helper()
	s := shop{t.TempDir()}
	s.program(t, "mkshop", "-dir", s.path("shop"), "-size", "small")
	for _, name := range []string{"backup.yaml", "restore.yaml"} {
		writeFile(t, s.path(name), readFile(t, filepath.Join("../../../examples/backup", name)))
	}
	return s
}

func (s shop) path(elem ...string) string { return filepath.Join(append([]string{s.dir}, elem...)...) }

func (s shop) program(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(built, name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (s shop) apply(t testing.TB, c *client.Client) {
	t.Helper()
	apply(t, c, s.dir, readFile(t, s.path("backup.yaml")), readFile(t, s.path("restore.yaml")))
}

// comesBack holds that there is one archive, with nothing half-made beside it,
// and that it restores to the same content. It returns the restored directory;
// archive and restored content are removed at the next call.
func (s shop) comesBack(t testing.TB, c *client.Client) string {
	t.Helper()
	entries, err := os.ReadDir(s.path("backups"))
	if err != nil || len(entries) != 3 || !strings.HasSuffix(entries[0].Name(), ".tar.zst") ||
		entries[1].Name() != entries[0].Name()+".manifest.json" || entries[2].Name() != entries[0].Name()+".report.txt" {
		t.Fatalf("want one archive, its manifest and its report, got %v, %v", entries, err)
	}
	if err := os.RemoveAll(s.path("restored")); err != nil { // of the last time
		t.Fatal(err)
	}
	wantCompleted(t, c, await(t, c, begin(t, c, "restore")))
	s.program(t, "compare", "-db", s.path("shop/shop.db"), s.path("restored/shop.db"), "-files", s.path("shop/files"), s.path("restored/files"))
	if err := os.RemoveAll(s.path("backups")); err != nil {
		t.Fatal(err)
	}
	return s.path("restored")
}

// snapshot is what a dead daemon's database says of a run.
type snapshot struct {
	run   task.Run
	steps map[string]task.RunStep // by position
	tops  []string                // names of the steps of the definition
}

// look reads a copy, so that the next daemon meets the database as the last one
// left it.
func look(t testing.TB, data, name string, number uint64) snapshot {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "stepd.db"), []byte(readFile(t, filepath.Join(data, "stepd.db"))), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(store.Options{Dir: dir, BallastSize: -1})
	if err != nil {
		t.Fatalf("the killed daemon's database: %v", err)
	}
	defer db.Close()
	found := snapshot{steps: map[string]task.RunStep{}}
	err = db.View(func(tx *store.Tx) error {
		if found.run, err = tx.RunByNumber(name, number); err != nil {
			return err
		}
		return tx.Steps(found.run.ID, task.Position{}, func(s task.RunStep) bool {
			found.steps[s.Position.String()] = s
			if s.Position.Sub == 0 {
				found.tops = append(found.tops, s.Name)
			}
			return true
		})
	})
	if err != nil {
		t.Fatalf("run %s/%d in the killed daemon's database: %v", name, number, err)
	}
	return found
}

// under says in a few words what was under way.
func (s snapshot) under() string {
	if s.run.Status != task.RunRunning {
		return string(s.run.Status)
	}
	under := "between steps"
	for _, step := range s.steps {
		switch {
		case step.Status != task.StepRunning:
		case step.Position.Sub > 0:
			return "planned steps of " + s.tops[step.Position.Top]
		case step.Planning:
			return "planning " + step.Name
		case !step.PlanDone:
			return step.Name
		}
	}
	return under
}

// sameAs holds that what was completed then was not done again.
func (s snapshot) sameAs(t testing.TB, c *client.Client) (kept int) {
	t.Helper()
	now := steps(t, c, s.run.Ref())
	for pos, then := range s.steps {
		if then.Status != task.StepCompleted {
			continue
		}
		kept++
		step, there := now[pos]
		if !there || step.Status != "completed" || step.Attempt != then.Attempt || step.EndedAt == nil || !step.EndedAt.Equal(then.EndedAt) {
			t.Errorf("step %s (%s) of %s was completed by attempt %d at %s before the daemon died; now it is %+v",
				then.Name, pos, s.run.Ref(), then.Attempt, then.EndedAt, step)
		}
	}
	return kept
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
