// Command mkshop makes the input of the backup example: the database and the
// files of a shop that does not exist. The same seed makes the same shop.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	dir := flag.String("dir", "shop", "directory to make; one that mkshop has made before is made again")
	size := flag.String("size", "demo", "small (a second), demo (tens of thousands of rows) or large (millions of rows, some hundred MB)")
	seed := flag.Uint64("seed", 1, "another seed makes another shop")
	flag.Parse()
	if err := run(*dir, *size, *seed); err != nil {
		fmt.Fprintf(os.Stderr, "mkshop: %v\n", err)
		os.Exit(1)
	}
}

// amounts says how large the shop is.
type amounts struct {
	customers, products, orders, images, codeFiles, downloadKB int
}

var errNotOurs = errors.New("it holds files that mkshop did not make: choose another directory")

// marker lies in each directory that mkshop has made.
const marker = ".made-by-mkshop"

func run(dir, size string, seed uint64) error {
	n, err := amountsOf(size)
	if err != nil {
		return err
	}
	if err := claim(dir); err != nil {
		return err
	}
	if err := makeFiles(filepath.Join(dir, "files"), n, seed); err != nil {
		return fmt.Errorf("make the files: %w", err)
	}
	if err := makeDatabase(filepath.Join(dir, "shop.db"), n, seed); err != nil {
		return fmt.Errorf("make the database: %w", err)
	}
	fmt.Printf("made a %s shop in %s\n", size, dir)
	return nil
}

func amountsOf(size string) (amounts, error) {
	switch size {
	case "small":
		return amounts{customers: 200, products: 60, orders: 500, images: 30, codeFiles: 40, downloadKB: 64}, nil
	case "demo":
		return amounts{customers: 5_000, products: 800, orders: 15_000, images: 160, codeFiles: 180, downloadKB: 2048}, nil
	case "large": // its backup takes long enough to be killed in the middle
		return amounts{customers: 200_000, products: 40_000, orders: 800_000, images: 3_000, codeFiles: 1_500, downloadKB: 32 << 10}, nil
	}
	return amounts{}, fmt.Errorf("size %q is neither small, demo nor large", size)
}

// claim empties a directory that was made by mkshop, makes one that is not there
// and refuses any other.
func claim(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(dir, marker)); err != nil {
			return fmt.Errorf("%s: %w", dir, errNotOurs)
		}
		for _, entry := range entries {
			if entry.Name() == marker {
				continue // it goes last, so that a half-emptied directory is still ours
			}
			if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
				return fmt.Errorf("empty %s: %w", dir, err)
			}
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	return os.WriteFile(filepath.Join(dir, marker), []byte("mkshop removes this directory when it makes the shop again\n"), 0o644)
}
