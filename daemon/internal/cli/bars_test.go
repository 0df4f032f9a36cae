package cli

import (
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"

	"github.com/stepd/stepd/daemon/internal/api"
)

func TestBarsUseTheWidthThereIs(t *testing.T) {
	eta := 75.0
	long := "the-tables-of-the-shop/a_table_with_a_very_long_name_indeed"
	for width, want := range map[int][]string{
		199: {long + "  ━", "1 min 15 s left, 12,345 rows", strings.Repeat("━", 20) + strings.Repeat("─", 20) + "  50 %"},
		79:  {"a_table_with_a_very_long_…  ━━━━", " 50 %  1 min 15 s left, 12,345 rows"},
		39:  {"a_table…  ━━━───  50 %  1 min 15 s left"},
		19:  {"a_table_with…  50 %"},
		4:   {"50 %"},
	} {
		v := &barView{env: &env{}, run: api.Run{Ref: "shop/7", Status: "running", Progress: 12, Total: 4, ETASeconds: &eta}, more: 3,
			steps: []api.Step{{Name: long, Position: "0.1", Status: "running", Progress: 50, ETASeconds: &eta, Counters: map[string]int64{"rows": 12345}}}}
		rows := v.rows(width)
		if len(rows) != 3 {
			t.Fatalf("%d rows, want 3: the step, how many more, the run", len(rows))
		}
		for _, row := range rows {
			if got := runewidth.StringWidth(row); got > width {
				t.Errorf("%d columns: %q takes %d", width, row, got)
			}
			if strings.HasSuffix(row, " …") {
				t.Errorf("%d columns: %q ends with a lone …", width, row)
			}
		}
		all := strings.Join(rows, "\n")
		for _, w := range want {
			if !strings.Contains(all, w) {
				t.Errorf("%d columns: no %q in\n%s", width, w, all)
			}
		}
	}
}

func TestTheStepsThatDoNotFitAreCounted(t *testing.T) {
	step := func(pos string) api.Step { return api.Step{Name: "s/" + pos, Position: pos, Status: "running"} }
	names := func(v *barView) (all []string) {
		for _, s := range v.steps {
			all = append(all, s.Position)
		}
		return all
	}
	v := &barView{slots: 3}
	v.show([]api.Step{step("1"), step("2"), step("3")})
	if got := names(v); len(got) != 3 || v.more != 0 {
		t.Errorf("%v and %d more", got, v.more)
	}
	v.show([]api.Step{step("4"), step("5"), step("3"), step("2")})
	if got := strings.Join(names(v), " "); got != "2 3" || v.more != 2 {
		t.Errorf("%v and %d more; those that have a bar keep it and their order", got, v.more)
	}
}

func TestNamesAreCutWhereTheyAreAlike(t *testing.T) {
	for _, tt := range []struct {
		name  string
		width int
		want  string
	}{
		{"tables/actor", 12, "tables/actor"},
		{"tables/actor", 8, "…s/actor"},
		{"tables/actor", 5, "actor"},
		{"tables/actor", 4, "act…"},
		{"  tables/actor", 10, "  …s/actor"},
		{"nightly-backup/42", 9, "…ackup/42"},
		{"archive", 4, "arc…"},
	} {
		if got := clipName(tt.name, tt.width); got != tt.want {
			t.Errorf("%q in %d columns: %q, want %q", tt.name, tt.width, got, tt.want)
		}
	}
}

func TestAReasonIsToldOnceInFull(t *testing.T) {
	const full = "open source: there is no directory /srv/shop/files"
	r := newReasons()
	for _, tt := range []struct{ step, text, want string }{
		{"load/a", full, full},
		{"load/a", full, "as before"},
		{"load/b", full, "the same as load/a"},
		{"load", "2 of 2 planned steps failed, the first: step load/a failed: " + full, "2 of 2 planned steps failed, the first: step load/a failed"},
		{"", "step load failed: 2 of 2 planned steps failed, the first: step load/a failed: " + full, "step load failed"},
		{"load/a", full + "\nwith more to say", full + "\nwith more to say"},
		{"c", "locked", "locked"},
		{"c", "locked", "locked"},
		{"", "2 steps failed, the first: step c failed: locked", "2 steps failed, the first: step c failed: locked"},
		{"d", "", ""},
	} {
		if got := r.tell(tt.step, tt.text); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.step, got, tt.want)
		}
	}
}
