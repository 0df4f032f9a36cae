package main

import (
	"bytes"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func change(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

var sample = []string{
	`PRAGMA user_version = 3`,
	`CREATE TABLE keyed(id INTEGER PRIMARY KEY AUTOINCREMENT, d DATE, v)`,
	`INSERT INTO keyed VALUES (1, '2024-01-02', 'x'), (2, NULL, NULL), (3, '', X'00'), (4, 5, 1.0), (5, 6, -0.0), (6, 7, '1')`,
	`CREATE TABLE bare(v)`, `INSERT INTO bare VALUES (3), (1), ('1'), (NULL)`,
	`CREATE INDEX by_v ON keyed(v)`, `CREATE VIEW seen AS SELECT * FROM bare`,
}

func compare(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code := run(t.Context(), args, &out, &out)
	return code, out.String()
}

func TestDatabasesThatHoldTheSame(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a.db"), filepath.Join(t.TempDir(), "b.db")
	change(t, a, sample...)
	change(t, b, sample...)
	change(t, b, `UPDATE bare SET v = 9 WHERE v = 3`, `DELETE FROM bare WHERE v = 9`, `INSERT INTO bare VALUES (3)`) // another order
	if code, out := compare(t, "-db", a, b); code != 0 || !strings.Contains(out, "SAME: 3 tables with 11 rows") {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

func TestEveryKindOfDifferenceBetweenDatabasesIsNamed(t *testing.T) {
	for statement, want := range map[string]string{
		`UPDATE keyed SET v = 'y' WHERE id = 1`:                     `column "v": "x" and "y"`,
		`UPDATE keyed SET v = '' WHERE id = 2`:                      `column "v": NULL and ""`,
		`UPDATE keyed SET v = '1.0' WHERE id = 4`:                   `column "v": 1 and "1.0"`,
		`UPDATE keyed SET v = 1 WHERE id = 6`:                       `column "v": "1" and 1`,
		`UPDATE keyed SET v = 0.0 WHERE id = 5`:                     `column "v": -0 and 0`,
		`UPDATE keyed SET v = CAST(v AS TEXT) WHERE id = 3`:         `column "v": X'00' and "\x00"`,
		`UPDATE keyed SET d = '2024-01-02 00:00:00' WHERE id = 1`:   `column "d": "2024-01-02" and`,
		`DELETE FROM keyed WHERE id = 6`:                            `more than 5 rows`,
		`INSERT INTO bare VALUES (X'ff')`:                           `more than 4 rows`,
		`DELETE FROM sqlite_sequence`:                               `table "sqlite_sequence"`,
		`CREATE TABLE extra(x)`:                                     `table "extra" is only in`,
		`DROP TABLE bare`:                                           `table "bare" is only in`,
		`DROP INDEX by_v`:                                           `index "by_v" is only in`,
		`ALTER TABLE bare ADD COLUMN w`:                             `table "bare" is made otherwise`,
		`CREATE TRIGGER t AFTER INSERT ON bare BEGIN SELECT 1; END`: `trigger "t" is only in`,
		`PRAGMA user_version = 4`:                                   `user_version is 3 and 4`,
	} {
		t.Run(statement, func(t *testing.T) {
			a, b := filepath.Join(t.TempDir(), "a.db"), filepath.Join(t.TempDir(), "b.db")
			change(t, a, sample...)
			change(t, b, append(append([]string{}, sample...), statement)...)
			if code, out := compare(t, "-db", a, b); code != 1 || !strings.Contains(out, want) {
				t.Errorf("exit %d, want %q:\n%s", code, want, out)
			}
		})
	}
}

func makeTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	at := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(root, "dir", "empty"), 0o755))
	must(os.WriteFile(filepath.Join(root, "dir", "file"), bytes.Repeat([]byte("content"), 20_000), 0o644))
	must(os.Symlink("file", filepath.Join(root, "dir", "link")))
	for _, name := range []string{"dir/file", "dir/empty", "dir"} {
		must(os.Chtimes(filepath.Join(root, name), at, at))
	}
	return root
}

func TestEveryKindOfDifferenceBetweenTreesIsNamed(t *testing.T) {
	a := makeTree(t)
	if code, out := compare(t, "-files", a, makeTree(t)); code != 0 || !strings.Contains(out, "4 files with 140000 bytes") {
		t.Fatalf("equal trees: exit %d:\n%s", code, out)
	}
	keepTime := func(root, name string, act func(path string) error) error {
		path := filepath.Join(root, name)
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if err := act(path); err != nil {
			return err
		}
		return os.Chtimes(path, info.ModTime(), info.ModTime())
	}
	for want, act := range map[string]func(root string) error{
		"dir/file has other content from byte 99999 on": func(root string) error {
			return keepTime(root, "dir/file", func(path string) error {
				f, err := os.OpenFile(path, os.O_WRONLY, 0)
				if err != nil {
					return err
				}
				defer f.Close()
				_, err = f.WriteAt([]byte{0}, 99999)
				return err
			})
		},
		"dir/file has other content from byte 100 on": func(root string) error {
			return keepTime(root, "dir/file", func(path string) error { return os.Truncate(path, 100) })
		},
		"dir/file has the mode": func(root string) error { return os.Chmod(filepath.Join(root, "dir/file"), 0o600) },
		"dir/file was changed": func(root string) error {
			return os.Chtimes(filepath.Join(root, "dir/file"), time.Now(), time.Now())
		},
		"dir/empty is only in": func(root string) error { return os.Remove(filepath.Join(root, "dir/empty")) },
		"new is only in":       func(root string) error { return os.WriteFile(filepath.Join(root, "new"), nil, 0o600) },
		`dir/link points to "file" and to "other"`: func(root string) error {
			path := filepath.Join(root, "dir/link")
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Symlink("other", path)
		},
		"dir/link is a L--------- and a ----------": func(root string) error {
			path := filepath.Join(root, "dir/link")
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.WriteFile(path, nil, 0o600)
		},
	} {
		t.Run(want, func(t *testing.T) {
			b := makeTree(t)
			if err := act(b); err != nil {
				t.Fatal(err)
			}
			if code, out := compare(t, "-files", a, b); code != 1 || !strings.Contains(out, want) {
				t.Errorf("exit %d, want %q:\n%s", code, want, out)
			}
		})
	}
}

func TestWhatCannotBeComparedExitsWithTwo(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {"-db", "one"}, {"-x", "a", "b"}, {"-db", text, text}, {"-db", "/none", text}, {"-files", text, t.TempDir()}, {"-files", "/none", t.TempDir()}} {
		if code, out := compare(t, args...); code != 2 {
			t.Errorf("%q: exit %d:\n%s", args, code, out)
		}
	}
}
