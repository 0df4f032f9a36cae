package dump

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStepNamesAreAllowedAndTellTablesApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-c_./ -]{0,8}`), rapid.StringN(60, 120, -1),
			rapid.SampledFrom([]string{"", schemaStep, finishStep, ".", "..", "-x", "__", "a/b", "__a_2fb"}))
		a, b := name.Draw(t, "a"), name.Draw(t, "b")
		got := stepName(a)
		if a != b && got == stepName(b) {
			t.Fatalf("%q and %q are both %q", a, b, got)
		}
		if got == "" || len(got) > 100 || strings.HasPrefix(got, ".") || strings.HasPrefix(got, "-") || got == schemaStep || got == finishStep {
			t.Fatalf("%q is %q", a, got)
		}
		for _, r := range got {
			if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r) {
				t.Fatalf("%q is %q", a, got)
			}
		}
		if file := number(5).file(3, got, zstdExtension); !dumpFile.MatchString(file) || filepath.Base(file) != file {
			t.Fatalf("the file of %q is %q", a, file)
		}
	})
}

func TestFilesSortInTheOrderOfLoading(t *testing.T) {
	for _, files := range []int{1, 998, 999, 1000, 12345} {
		n := number(files)
		if last, before := n.file(files, "finish", ""), n.file(files-1, "zzz", ""); last <= before {
			t.Errorf("of %d files, %q is not after %q", files, last, before)
		}
	}
}

func TestFailedWriteKeepsTheOlderFile(t *testing.T) {
	dir := t.TempDir()
	write := func(text string, fault error) error {
		_, err := writeFile(dir, "001-a.sql", func(w io.Writer) error {
			io.WriteString(w, text)
			return fault
		})
		return err
	}
	if err := write("old", nil); err != nil {
		t.Fatal(err)
	}
	fault := errors.New("the table broke")
	if err := write(strings.Repeat("new", 1<<20), fault); !errors.Is(err, fault) {
		t.Fatalf("got %v", err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "001-a.sql"))
	entries, _ := os.ReadDir(dir)
	if err != nil || string(raw) != "old" || len(entries) != 1 {
		t.Errorf("the file holds %q beside %v: %v", raw, entries, err)
	}
}
