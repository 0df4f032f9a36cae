package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// compareTrees compares what is under two directories: names, kinds, modes, times,
// contents, targets of symbolic links. The roots themselves do not count.
func compareTrees(ctx context.Context, a, b string, r *report) error {
	inA, err := list(a)
	if err != nil {
		return err
	}
	inB, err := list(b)
	if err != nil {
		return err
	}
	files := r.files
	for _, name := range inB {
		if _, found := slices.BinarySearch(inA, name); !found {
			r.differ("%s is only in %s", name, b)
		}
	}
	for _, name := range inA {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, found := slices.BinarySearch(inB, name); !found {
			r.differ("%s is only in %s", name, a)
			continue
		}
		if err := compareFiles(name, filepath.Join(a, name), filepath.Join(b, name), r); err != nil {
			return err
		}
	}
	fmt.Fprintf(r.out, "files: %d compared\n", r.files-files)
	return nil
}

// list is the sorted paths under root.
func list(root string) ([]string, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", root)
	}
	var names []string
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, err := filepath.Rel(root, path)
		names = append(names, name)
		return err
	})
	slices.Sort(names)
	return names, err
}

func compareFiles(name, a, b string, r *report) error {
	infoA, err := os.Lstat(a)
	if err != nil {
		return err
	}
	infoB, err := os.Lstat(b)
	if err != nil {
		return err
	}
	r.files++
	if infoA.Mode().Type() != infoB.Mode().Type() {
		r.differ("%s is a %v and a %v", name, infoA.Mode().Type(), infoB.Mode().Type())
		return nil
	}
	if infoA.Mode()&fs.ModeSymlink != 0 { // mode and time of a link mean nothing
		toA, err := os.Readlink(a)
		if err != nil {
			return err
		}
		toB, err := os.Readlink(b)
		if err != nil {
			return err
		}
		if toA != toB {
			r.differ("%s points to %q and to %q", name, toA, toB)
		}
		return nil
	}
	if infoA.Mode() != infoB.Mode() {
		r.differ("%s has the mode %v and %v", name, infoA.Mode(), infoB.Mode())
	}
	if !infoA.ModTime().Equal(infoB.ModTime()) {
		r.differ("%s was changed at %v and at %v", name, infoA.ModTime().UTC(), infoB.ModTime().UTC())
	}
	if !infoA.Mode().IsRegular() {
		return nil
	}
	r.bytes += infoA.Size()
	at, err := firstDifference(a, b)
	if err != nil {
		return err
	}
	if at >= 0 {
		r.differ("%s has other content from byte %d on", name, at)
	}
	return nil
}

// firstDifference is the offset of the first byte that differs, -1 if none does.
func firstDifference(a, b string) (int64, error) {
	fileA, err := os.Open(a)
	if err != nil {
		return 0, err
	}
	defer fileA.Close()
	fileB, err := os.Open(b)
	if err != nil {
		return 0, err
	}
	defer fileB.Close()
	bufferA, bufferB := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); ; {
		n, errA := io.ReadFull(fileA, bufferA)
		m, errB := io.ReadFull(fileB, bufferB)
		if !bytes.Equal(bufferA[:n], bufferB[:m]) {
			i := 0
			for i < min(n, m) && bufferA[i] == bufferB[i] {
				i++
			}
			return at + int64(i), nil
		}
		at += int64(n)
		for _, err := range []error{errA, errB} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return 0, err
			}
		}
		if errA != nil || errB != nil {
			return -1, nil
		}
	}
}
