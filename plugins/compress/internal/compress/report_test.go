package compress

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stepd/stepd/sdk"
	"github.com/stepd/stepd/sdk/sdktest"
)

// lines are those of a report, by their names.
func reportLines(t testing.TB, archive string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(reportPath(archive))
	must(t, err)
	lines := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if len(line) > 12 {
			name := strings.TrimSpace(line[:12])
			if _, twice := lines[name]; twice {
				t.Errorf("%q is twice in the report: %s", name, raw)
			}
			lines[name] = strings.TrimSpace(line[12:])
		}
	}
	return lines
}

func TestTheReportSaysWhatPeopleAsk(t *testing.T) {
	dir := t.TempDir()
	source := tree{"tables/a.sql": strings.Repeat("dump", 1000), "tables/": ""}.write(t, dir+"/shop")
	h := sdktest.New(t, Plugin())
	asked := time.Now().Add(-90 * time.Second)
	result := h.Execute(t.Context(), sdktest.Start{BaseDir: dir, Task: "backup", Run: 42, RunCreatedAt: asked,
		Settings: map[string]any{"source": "shop", "backup_dir": "b", "rows_from": "tables"},
		Inputs: func(step, name string) []sdk.InputItem {
			raw, err := json.Marshal(table{Table: "a", File: "a.sql", Rows: 70, Bytes: 4000})
			must(t, err)
			return []sdk.InputItem{{Step: step + "/" + name, Value: raw}}
		}})
	result.RequireCompleted(t)
	var archive Archive
	var report Report
	result.Output(t, "archive", &archive)
	result.Output(t, "report", &report)
	if report.Task != "backup" || report.Run != 42 || report.SHA256 != archive.SHA256 || report.Tables != 1 || report.Rows != 70 ||
		report.Seconds <= 0 || report.RunSeconds < 90 || report.Source != source || report.File != archive.Path+".report.txt" || report.Verified != notReadYet {
		t.Errorf("%+v", report)
	}
	lines := reportLines(t, archive.Path)
	for name, want := range map[string]string{
		"what": source, "holds": "1 file, 4 KB (3 entries, 4000 bytes)", "tables": "1, with 70 rows", "where": archive.Path, "sha256": archive.SHA256,
		"size":       fmt.Sprintf("%s (%d bytes), %.1f %% of what it holds", sdk.Bytes(archive.Bytes), archive.Bytes, archive.Ratio*100),
		"compressed": "tar.zst, level default", "verified": notReadYet, "run took": "1m30s until then",
	} {
		if lines[name] != want {
			t.Errorf("%s is %q, want %q", name, lines[name], want)
		}
	}
	verify := func() sdktest.Result {
		return h.Execute(t.Context(), sdktest.Start{Controller: "verify", BaseDir: dir, Task: "drill", Run: 7, Step: "check", Settings: map[string]any{"backup_dir": "b"}})
	}
	for range 2 {
		verify().RequireCompleted(t)
		if got := reportLines(t, archive.Path)["verified"]; !strings.HasSuffix(got, "Z: everything was read: 3 entries with their hashes as in the manifest within, and the archive's own SHA-256 (drill/7, check)") {
			t.Errorf("after verify: %s", got)
		}
	}
	content, err := os.ReadFile(archive.Path)
	must(t, err)
	content[len(content)/2] ^= 1
	must(t, os.WriteFile(archive.Path, content, 0o640))
	if verify().Completed() {
		t.Fatal("damage was not seen")
	}
	if got := reportLines(t, archive.Path); !strings.Contains(got["verified"], "FAILED: it is damaged") || got["sha256"] != archive.SHA256 {
		t.Errorf("after damage: %q", got)
	}
}

func TestTheReportOfAnEncryptedArchiveNamesNoFiles(t *testing.T) {
	key := ageKey(t)
	m := makeEncrypted(t, formatZstd, shop(), map[string]any{"recipients": []string{key.public}})
	report := func() string { return reportLines(t, m.archive.Path)["verified"] }
	m.run(t, "verify", map[string]any{"backup_dir": "backups"}).RequireCompleted(t)
	if got := report(); !strings.Contains(got, "size and SHA-256 as in the manifest; the content was not read") {
		t.Error(got)
	}
	m.run(t, "verify", map[string]any{"backup_dir": "backups", "identity_file": key.file}).RequireCompleted(t)
	if got := report(); !strings.Contains(got, "everything was read") {
		t.Error(got)
	}
	lines := reportLines(t, m.archive.Path)
	if _, named := lines["what"]; named || lines["encrypted"] != "age, to 1 recipient" {
		t.Errorf("%q", lines)
	}
	if told := betrays(t, m.dir+"/backups", "index.php", "image"); len(told) > 0 {
		t.Errorf("%q", told)
	}
}

func TestVerifyMakesNoReportAndTouchesNoOtherFile(t *testing.T) {
	m := makeArchive(t, formatZstd, small())
	must(t, os.Remove(reportPath(m.archive.Path)))
	m.run(t, "verify", map[string]any{"backup_dir": "backups"}).RequireCompleted(t)
	if _, err := os.Lstat(reportPath(m.archive.Path)); err == nil {
		t.Error("verify made a report")
	}
	must(t, os.WriteFile(m.dir+"/mine", []byte(reportTitle+"mine"), 0o600))
	must(t, os.Symlink("../mine", reportPath(m.archive.Path)))
	result := m.run(t, "verify", map[string]any{"backup_dir": "backups"})
	result.RequireCompleted(t)
	if mine, err := os.ReadFile(m.dir + "/mine"); err != nil || string(mine) != reportTitle+"mine" {
		t.Errorf("%q, %v", mine, err)
	}
	if !slices.ContainsFunc(result.Lines, func(l sdktest.Line) bool { return strings.Contains(l.Message, "was not brought up to date") }) {
		t.Errorf("%+v", result.Lines)
	}
}
