package main

import (
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fingerprint is all that is under a directory: names, modes, times, contents.
func fingerprint(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		fmt.Fprintf(&b, "%s %v", name, info.Mode())
		if info.Mode().IsRegular() {
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(raw))
		}
		if strings.HasPrefix(name, "files/") && info.Mode()&fs.ModeSymlink == 0 {
			fmt.Fprintf(&b, " %v", info.ModTime().UTC())
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTheSameSeedMakesTheSameShop(t *testing.T) {
	one, two := filepath.Join(t.TempDir(), "shop"), filepath.Join(t.TempDir(), "shop")
	if err := errors.Join(run(one, "small", 1), run(two, "small", 1)); err != nil {
		t.Fatal(err)
	}
	first := fingerprint(t, one)
	if first != fingerprint(t, two) {
		t.Error("two shops of one seed differ")
	}
	if err := run(two, "small", 2); err != nil {
		t.Fatalf("make it again: %v", err)
	}
	if first == fingerprint(t, two) {
		t.Error("another seed made the same shop")
	}
	if err := run(two, "small", 1); err != nil {
		t.Fatalf("make it again: %v", err)
	}
	if first != fingerprint(t, two) {
		t.Error("making it again left something of the other shop")
	}
}

func TestTheShopIsAWholeDatabase(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	if err := run(dir, "small", 1); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "shop.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var check string
	var broken, lines, sellers, found, log int
	err = db.QueryRow(`SELECT (SELECT * FROM pragma_integrity_check), (SELECT count(*) FROM pragma_foreign_key_check), (SELECT count(*) FROM order_lines),
		(SELECT count(*) FROM best_sellers), (SELECT count(*) FROM product_search), (SELECT count(*) FROM stock_log)`).Scan(&check, &broken, &lines, &sellers, &found, &log)
	if err != nil || check != "ok" || broken != 0 || lines < 500 || sellers == 0 || found != 60 || log != 100 {
		t.Errorf("integrity %q, %d broken references, %d lines, %d best sellers, %d searchable, %d log lines: %v", check, broken, lines, sellers, found, log, err)
	}
}

func TestItRemovesNothingThatItDidNotMake(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine.txt")
	if err := os.WriteFile(mine, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, "small", 1); !errors.Is(err, errNotOurs) {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("the directory holds %v now", entries)
	}
	if err := run(t.TempDir(), "huge", 1); err == nil {
		t.Error("an unknown size was taken")
	}
}

// A large shop is too large to be made here; what counts is that it is one.
func TestSizesGrow(t *testing.T) {
	orders := 0
	for _, size := range []string{"small", "demo", "large"} {
		n, err := amountsOf(size)
		if err != nil || n.orders < 20*orders || n.customers == 0 || n.products == 0 {
			t.Errorf("%s is %+v after %d orders: %v", size, n, orders, err)
		}
		orders = n.orders
	}
}
