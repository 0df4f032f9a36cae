package compress

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/stepd/stepd/sdk"
	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

func shop() tree {
	return tree{
		"index.php": "<?php", "image/a.jpg": strings.Repeat("abcdefgh", 90_000), "image/": "", "image/void/": "", "a.txt": "", "a/b": "order", "a/": "",
		"link": "-> image/a.jpg", "a/up": "-> ../index.php", "ü/日本語 \n.pdf": "pdf", "ü/": "", "bad\xffname": "not utf-8", ".hidden": "h",
		strings.Repeat("long", 60) + "/" + strings.Repeat("name", 60): "long", strings.Repeat("long", 60) + "/": "",
	}
}

// made is an archive of a fresh tree.
type made struct {
	h       *sdktest.Harness
	dir     string
	source  string
	archive Archive
	message string
}

func makeArchive(t testing.TB, format string, content tree) made {
	t.Helper()
	dir := t.TempDir()
	m := made{h: sdktest.New(t, Plugin()), dir: dir, source: content.write(t, filepath.Join(dir, "shop"))}
	result := m.h.Execute(t.Context(), sdktest.Start{BaseDir: dir, Task: "backup", Run: 42,
		Settings: map[string]any{"source": "shop", "backup_dir": "backups", "format": format}})
	result.RequireCompleted(t)
	result.Output(t, "archive", &m.archive)
	m.message = result.Message
	return m
}

func (m made) run(t testing.TB, controller string, settings map[string]any) sdktest.Result {
	t.Helper()
	return m.h.Execute(t.Context(), sdktest.Start{Controller: controller, BaseDir: m.dir, Settings: settings})
}

func formats(t *testing.T, test func(t *testing.T, format string)) {
	for _, format := range []string{formatZstd, formatGzip} {
		t.Run(format, func(t *testing.T) { test(t, format) })
	}
}

func TestRoundTripKeepsContentModesTimesAndLinks(t *testing.T) {
	formats(t, func(t *testing.T, format string) {
		m := makeArchive(t, format, shop())
		if !strings.HasPrefix(m.message, "backup-42."+format+": 8 files, 720 KB to ") || m.archive.Path != m.dir+"/backups/backup-42."+format {
			t.Errorf("message %q, archive %+v", m.message, m.archive)
		}
		if got := names(look(t, m.dir+"/backups")); len(got) != 3 {
			t.Errorf("the directory of the archives holds %q", got)
		}
		m.run(t, "verify", map[string]any{"backup_dir": "backups"}).RequireCompleted(t)
		m.run(t, "restore", map[string]any{"archive": m.archive.Path, "target": "back"}).RequireCompleted(t)
		sameTrees(t, look(t, m.source), look(t, m.dir+"/back"))
		if left := names(look(t, m.dir)); slices.ContainsFunc(left, func(n string) bool { return strings.Contains(n, "restore-") }) {
			t.Errorf("left behind: %q", left)
		}
	})
}

func TestOrdinaryToolsReadTheArchive(t *testing.T) {
	formats(t, func(t *testing.T, format string) {
		m := makeArchive(t, format, shop())
		tool := map[string]string{formatZstd: "zstd", formatGzip: "gzip"}[format]
		if out, err := exec.Command(tool, "-t", m.archive.Path).CombinedOutput(); err != nil {
			t.Fatalf("%s -t: %v: %s", tool, err, out)
		}
		into := t.TempDir() + "/x"
		must(t, os.Mkdir(into, 0o755))
		if out, err := exec.Command("tar", "-I", tool, "-xpf", m.archive.Path, "-C", into).CombinedOutput(); err != nil {
			t.Fatalf("tar: %v: %s", err, out)
		}
		want, got := look(t, m.source), look(t, into)
		delete(got, manifestName)
		sameTrees(t, want, got)
	})
}

func TestSameInputSameEntries(t *testing.T) {
	entries := func(m made) string {
		f, err := os.Open(m.archive.Manifest)
		must(t, err)
		defer f.Close()
		var list []string
		_, err = readManifest(f, func(e Entry) error {
			e.MTime = e.MTime.Round(0)
			if e.Type == typeDir || e.Type == typeLink {
				e.MTime = e.MTime.Truncate(1 << 62)
			}
			list = append(list, fmt.Sprint(e.Path, e.Type, e.SHA256, e.Size))
			return nil
		})
		must(t, err)
		return strings.Join(list, "\n")
	}
	if a, b := entries(makeArchive(t, formatZstd, shop())), entries(makeArchive(t, formatGzip, shop())); a != b {
		t.Errorf("one has\n%s\nthe other\n%s", a, b)
	}
}

func small() tree {
	return tree{"a": "content of a", "d/b": strings.Repeat("b", 300), "d/": "", "l": "-> a"}
}

// verifyBytes verifies changed bytes of an archive, with or without the
// manifest beside it.
func verifyBytes(t testing.TB, m made, content []byte, sealed bool) sdktest.Result {
	t.Helper()
	dir := filepath.Join(m.dir, "changed")
	must(t, os.MkdirAll(dir, 0o755))
	path := filepath.Join(dir, filepath.Base(m.archive.Path))
	must(t, os.WriteFile(path, content, 0o644))
	if sealed {
		side, err := os.ReadFile(m.archive.Manifest)
		must(t, err)
		must(t, os.WriteFile(sidePath(path), side, 0o644))
	} else {
		_ = os.Remove(sidePath(path))
	}
	return m.run(t, "verify", map[string]any{"archive": path})
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	formats(t, func(t *testing.T, format string) {
		m := makeArchive(t, format, small())
		whole, err := os.ReadFile(m.archive.Path)
		must(t, err)
		verifyBytes(t, m, whole, true).RequireCompleted(t)
		for i := range whole {
			changed := slices.Clone(whole)
			changed[i] ^= 1 << (i % 8)
			result := verifyBytes(t, m, changed, true)
			if result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.HasPrefix(result.Message, "archive /") {
				t.Errorf("bit %d of byte %d: %v: %s", i%8, i, result.Status, result.Message)
			}
		}
	})
}

// Without the manifest beside it, bits that mean nothing (padding) may flip
// unseen; content may not.
func TestFlippedBitsNeverChangeContentUnseen(t *testing.T) {
	formats(t, func(t *testing.T, format string) {
		m := makeArchive(t, format, small())
		want := look(t, m.source)
		whole, err := os.ReadFile(m.archive.Path)
		must(t, err)
		unseen := 0
		for i := range whole {
			changed := slices.Clone(whole)
			changed[i] ^= 1 << ((i + 3) % 8)
			if result := verifyBytes(t, m, changed, false); !result.Completed() {
				continue
			}
			unseen++
			target := fmt.Sprintf("%s/back%d", m.dir, i)
			m.run(t, "restore", map[string]any{"archive": "changed", "target": target}).RequireCompleted(t)
			sameTrees(t, want, look(t, target))
		}
		if unseen > 20 {
			t.Errorf("%d of %d flips were not seen", unseen, len(whole))
		}
	})
}

func TestEveryTruncationIsFound(t *testing.T) {
	formats(t, func(t *testing.T, format string) {
		m := makeArchive(t, format, small())
		whole, err := os.ReadFile(m.archive.Path)
		must(t, err)
		for n := 0; n < len(whole); n += 1 + n/40 {
			if result := verifyBytes(t, m, whole[:n], n%2 == 0); result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.HasPrefix(result.Message, "archive /") {
				t.Errorf("cut to %d bytes: %v: %s", n, result.Status, result.Message)
			}
		}
		if result := verifyBytes(t, m, append(slices.Clone(whole), "more"...), false); result.Completed() {
			t.Error("what was appended was not seen")
		}
	})
}

func TestArchiveOfAnotherRunIsNeverOverwritten(t *testing.T) {
	m := makeArchive(t, formatZstd, small())
	before := look(t, m.dir+"/backups")
	settings := map[string]any{"source": "shop", "backup_dir": "backups", "name": "backup-42"}
	other := m.h.Execute(t.Context(), sdktest.Start{BaseDir: m.dir, Task: "backup", Run: 43, Settings: settings})
	if other.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(other.Message, "exists already") {
		t.Errorf("ended as %v: %s", other.Status, other.Message)
	}
	sameTrees(t, before, look(t, m.dir+"/backups"))

	// Its own it recognises, also when the attempt died before the manifest.
	must(t, os.Remove(m.archive.Manifest))
	again := m.h.Execute(t.Context(), sdktest.Start{BaseDir: m.dir, Task: "backup", Run: 42, Attempt: 2, Settings: settings})
	again.RequireCompleted(t)
	var archive Archive
	again.Output(t, "archive", &archive)
	if archive != m.archive {
		t.Errorf("the output is %+v, was %+v", archive, m.archive)
	}
	result := m.run(t, "verify", map[string]any{"archive": archive.Path})
	result.RequireCompleted(t)
	if strings.Contains(result.Message, "no manifest beside it") {
		t.Error(result.Message)
	}
}

func TestCutAnywhereItMakesTheSameArchive(t *testing.T) {
	dir := t.TempDir()
	content := tree{}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		noise := make([]byte, 20_000)
		for j := range noise {
			noise[j] = byte(random.Uint32())
		}
		content[fmt.Sprintf("d%d/f%d", i%6, i)] = string(noise)
	}
	source := content.write(t, filepath.Join(dir, "s"))
	for seed := range 12 {
		var cut func()
		ended := make(chan struct{}, 1)
		reads, at := 0, 0
		h := sdktest.New(t, plugin(tuning{ended: func() { ended <- struct{}{} }, afterRead: func(string) {
			if reads++; reads == at {
				cut()
			}
		}}))
		backups := fmt.Sprintf("%s/b%d", dir, seed)
		start := sdktest.Start{Settings: map[string]any{"source": source, "backup_dir": backups}}
		for attempt := 1; attempt < 5; attempt++ {
			ctx, cancel := context.WithCancel(t.Context())
			cut, reads, at, start.Attempt = cancel, 0, 1+random.IntN(80), attempt
			result := h.Execute(ctx, start)
			cancel()
			<-ended
			if result.Completed() {
				break
			}
			// A cut that comes late finds the archive made, and then it is whole.
			if shown := names(look(t, backups)); slices.ContainsFunc(shown, func(name string) bool { return !strings.HasPrefix(name, ".") }) {
				verified := h.Execute(t.Context(), sdktest.Start{Controller: "verify", Settings: map[string]any{"archive": backups}})
				<-ended
				if !verified.Completed() {
					t.Errorf("%q shows after a cut attempt: %s", shown, verified.Message)
				}
			}
		}
		at = 0
		h.Execute(t.Context(), start).RequireCompleted(t)
		<-ended
		if got := names(look(t, backups)); len(got) != 3 {
			t.Errorf("the directory of the archives holds %q", got)
		}
		h.Execute(t.Context(), sdktest.Start{Controller: "restore", Settings: map[string]any{"archive": backups, "target": backups + "/back"}}).RequireCompleted(t)
		sameTrees(t, look(t, source), look(t, backups+"/back"))
	}
}

func TestRestoreTargets(t *testing.T) {
	m := makeArchive(t, formatZstd, small())
	restore := func(target string, more map[string]any) sdktest.Result {
		settings := map[string]any{"archive": m.archive.Path, "target": target}
		for k, v := range more {
			settings[k] = v
		}
		return m.run(t, "restore", settings)
	}
	must(t, os.Mkdir(m.dir+"/empty", 0o755))
	restore("empty", nil).RequireCompleted(t)
	sameTrees(t, look(t, m.source), look(t, m.dir+"/empty"))
	restore("empty", nil).RequireCompleted(t) // an attempt that was lost after its work
	for _, more := range []string{"more", "d/more", "void/"} {
		with := tree{more: "not of the archive"}
		must(t, os.RemoveAll(m.dir+"/more"))
		restore("more", nil).RequireCompleted(t)
		with.write(t, m.dir+"/more")
		if strings.HasPrefix(more, "d/") {
			must(t, os.Chtimes(m.dir+"/more/d", time.Time{}, time.Unix(1_500_000_000, 0)))
		}
		if result := restore("more", nil); result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(result.Message, "is not empty") {
			t.Errorf("with %s: ended as %v: %s", more, result.Status, result.Message)
		}
	}

	full := tree{"a": "old", "mine": "mine"}.write(t, m.dir+"/full")
	before := look(t, full)
	if result := restore("full", nil); result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(result.Message, "is not empty") {
		t.Errorf("ended as %v: %s", result.Status, result.Message)
	}
	sameTrees(t, before, look(t, full))
	restore("full", map[string]any{"overwrite": true}).RequireCompleted(t)
	want, got := look(t, m.source), look(t, full)
	want["mine"] = before["mine"]
	delete(want, ".")
	delete(got, ".")
	sameTrees(t, want, got)

	restore("some", map[string]any{"include": []string{"d"}}).RequireCompleted(t)
	if got := names(look(t, m.dir+"/some")); !slices.Equal(got, []string{"d", "d/b"}) {
		t.Errorf("restored %q", got)
	}
	restore("some", map[string]any{"include": []string{"d/*"}}).RequireCompleted(t) // the same content
	if result := restore("some", map[string]any{"include": []string{"a"}}); result.Completed() {
		t.Error("content of another include was taken for that of this one")
	}
	typo := restore("typo", map[string]any{"include": []string{"./tabels/**", "ab"}})
	if typo.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(typo.Message, "matches include: ./tabels/**, ab;") {
		t.Errorf("ended as %v: %s", typo.Status, typo.Message)
	}
	if _, err := os.Lstat(m.dir + "/typo"); err == nil {
		t.Error("a target was made of nothing")
	}
	half := restore("half", map[string]any{"include": []string{"tabels/**", "a", "**/b"}})
	half.RequireCompleted(t)
	if !strings.HasSuffix(half.Message, "; nothing matches tabels/**") || len(half.Lines) != 1 || half.Lines[0].Level != "warn" {
		t.Errorf("%q, %+v", half.Message, half.Lines)
	}
	if result := restore("limit", map[string]any{"max_bytes": 1000}); result.Completed() || !strings.Contains(result.Message, "max_bytes") {
		t.Errorf("ended as %v: %s", result.Status, result.Message)
	}
	tree{"out": "-> ../elsewhere"}.write(t, m.dir+"/linked")
	must(t, os.Symlink("/etc", m.dir+"/linked/d"))
	if result := restore("linked", map[string]any{"overwrite": true}); result.Completed() || !strings.Contains(result.Message, "of another kind") {
		t.Errorf("ended as %v: %s", result.Status, result.Message)
	}
}

func TestSourceWithSurprises(t *testing.T) {
	dir := t.TempDir()
	work := filepath.Join(dir, "work")
	tree{"tables/a.sql": "dump", "tables/": "", "files/x": "x", "files/": "", ".private/secret": "s", "files/.htaccess": "kept"}.write(t, work)
	must(t, syscall.Mkfifo(work+"/files/pipe", 0o600))
	h := sdktest.New(t, Plugin())
	backups := filepath.Join(work, "backups") // inside the source
	sum := "b4dd85b3c1e6a1b4b4ea4e45d6cf5d0a44f2a1a6bb0bdc8f9a1e5c5f7a0e1b5f"
	start := sdktest.Start{WorkDir: work, Settings: map[string]any{"backup_dir": backups, "rows_from": "tables"},
		Inputs: func(step, name string) []sdk.InputItem {
			raw, err := json.Marshal(table{Table: "a", File: "a.sql", Rows: 7, Bytes: 4, SHA256: sum})
			must(t, err)
			return []sdk.InputItem{{Step: step + "/" + name, Value: raw}}
		}}
	wrong := h.Execute(t.Context(), start)
	if wrong.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(wrong.Message, "its hash differs") {
		t.Errorf("a changed dump: %v: %s", wrong.Status, wrong.Message)
	}
	sum = ""
	result := h.Execute(t.Context(), start)
	result.RequireCompleted(t)
	var archive Archive
	result.Output(t, "archive", &archive)
	f, err := os.Open(archive.Manifest)
	must(t, err)
	defer f.Close()
	var paths []string
	_, err = readManifest(f, func(e Entry) error {
		paths = append(paths, e.Path)
		if (e.Rows != nil) != (e.Path == "tables/a.sql") || e.Rows != nil && *e.Rows != 7 {
			t.Errorf("%s has rows %v", e.Path, e.Rows)
		}
		return nil
	})
	must(t, err)
	if got := strings.Join(paths, " "); got != ". files files/.htaccess files/x tables tables/a.sql" {
		t.Errorf("the archive has %s", got)
	}
	if !slices.ContainsFunc(result.Lines, func(l sdktest.Line) bool { return l.Fields["path"] == "files/pipe" }) {
		t.Error("the log does not name the pipe that was left out")
	}
}

func TestTheSchemaAsksForADirectoryOfTheArchives(t *testing.T) {
	raw, err := sdk.SettingsSchema(CreateSettings{})
	must(t, err)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	must(t, err)
	compiler := jsonschema.NewCompiler()
	must(t, compiler.AddResource("test:settings", document))
	schema, err := compiler.Compile("test:settings")
	must(t, err)
	for _, given := range []string{"backup_dir", "target"} {
		if err := schema.Validate(map[string]any{"format": "tar.gz", given: "x"}); err != nil {
			t.Errorf("%s alone: %v", given, err)
		}
	}
	if err := schema.Validate(map[string]any{"format": "tar.gz"}); err == nil || !strings.Contains(err.Error(), "backup_dir") {
		t.Errorf("neither: %v", err)
	}
}

func TestRowsFromAStepWithoutTablesIsNotTriedAgain(t *testing.T) {
	m := makeArchive(t, formatZstd, small())
	for _, c := range []struct{ answer, want string }{
		{`the task has no earlier step "tabls": not found`, `rows_from: input table of step tabls: the task has no earlier step "tabls"`},
		{"", "rows_from: step tabls has no outputs called table"},
	} {
		result := m.h.Execute(t.Context(), sdktest.Start{BaseDir: m.dir, Run: 43, InputError: c.answer,
			Settings: map[string]any{"source": "shop", "backup_dir": "backups", "rows_from": "tabls"}})
		if result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(result.Message, c.want) {
			t.Errorf("ended as %v: %s", result.Status, result.Message)
		}
	}
	if got := names(look(t, m.dir+"/backups")); len(got) != 3 {
		t.Errorf("the directory of the archives holds %q", got)
	}
}

func TestFileThatChangesFailsTheAttempt(t *testing.T) {
	source := small().write(t, t.TempDir()+"/s")
	h := sdktest.New(t, plugin(tuning{afterRead: func(rel string) {
		if rel == "a" {
			must(t, os.Truncate(source+"/a", 3))
		}
	}}))
	backups := t.TempDir()
	result := h.Execute(t.Context(), sdktest.Start{Settings: map[string]any{"source": source, "backup_dir": backups}})
	if result.Status != stepdv1.Result_STATUS_FAILED || !strings.Contains(result.Message, "a: changed while it was read") {
		t.Errorf("ended as %v: %s", result.Status, result.Message)
	}
	if left := names(look(t, backups)); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
}

func BenchmarkCompress(b *testing.B) {
	for _, format := range []string{formatZstd, formatGzip} {
		b.Run(format, func(b *testing.B) {
			content := tree{}
			random := rand.New(rand.NewPCG(1, 2))
			for i := range 64 {
				var text strings.Builder
				for text.Len() < 1<<20 {
					fmt.Fprintf(&text, "INSERT INTO t VALUES (%d,'%x',%d);\n", random.IntN(1e6), random.Uint32(), i)
				}
				content[fmt.Sprint("f", i)] = text.String()
			}
			dir := b.TempDir()
			source := content.write(b, dir+"/s")
			h := sdktest.New(b, Plugin())
			n := uint64(0)
			b.SetBytes(64 << 20)
			b.ReportAllocs()
			for b.Loop() {
				n++
				h.Execute(b.Context(), sdktest.Start{Run: n, Settings: map[string]any{"source": source, "backup_dir": dir + "/b", "format": format}}).RequireCompleted(b)
			}
		})
	}
}

func TestTheMessageSpeaksOfASavingOnlyWhereThereIsOne(t *testing.T) {
	if m := makeArchive(t, formatZstd, tree{"a": "x"}); !strings.HasPrefix(m.message, "backup-42.tar.zst: 1 file, 1 B to ") || strings.Contains(m.message, "%") {
		t.Error(m.message)
	}
	if m := makeArchive(t, formatZstd, tree{"a": strings.Repeat("x", 100_000)}); !strings.HasSuffix(m.message, " (1 %)") {
		t.Error(m.message)
	}
}
