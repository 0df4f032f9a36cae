package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// opened is when the shop opened: all times in it follow from this.
var opened = time.Date(2024, 3, 1, 9, 0, 0, 0, time.UTC)

// makeFiles makes what a shop has on disk beside its database: code, pictures,
// downloads and a configuration file.
func makeFiles(root string, n amounts, seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 1))
	tree := &tree{root: root, r: r}
	for i := range n.codeFiles {
		dir := []string{"code", "code/core", "code/core/lib", "code/extension/mail/provider", "code/templates/default"}[i%5]
		tree.file(fmt.Sprintf("%s/page_%03d.php", dir, i), source(r, i), 0o644)
	}
	tree.file("code/bin/cron.sh", []byte("#!/bin/sh\nexec php \"$(dirname \"$0\")/../core/cron.php\"\n"), 0o755)
	for i := range n.images {
		tree.file(fmt.Sprintf("image/catalog/%02x/product_%04d.jpg", i%23, i), noise(r, 2_000+r.IntN(30_000)), 0o644)
	}
	tree.file("image/catalog/größe – Übersicht.png", noise(r, 5_000), 0o644)
	tree.file("image/商品/写真 1.jpg", noise(r, 4_000), 0o644)
	tree.file("image/it's \"quoted\" & spaced .jpg", noise(r, 100), 0o600)
	tree.file("image/empty.gif", nil, 0o644)
	tree.file("image/zeros.bin", make([]byte, 100_000), 0o444)
	tree.file("download/manual.pdf", noise(r, n.downloadKB<<10), 0o640)
	tree.file("download/.htaccess", []byte("Deny from all\n"), 0o644)
	tree.dir("download/incoming")
	tree.dir("image/cache/nothing/here")
	tree.link("image/logo.jpg", "catalog/00/product_0000.jpg")
	tree.link("download/latest.pdf", "manual.pdf")
	tree.link("download/gone", "a file that was deleted")
	tree.file("config.php", []byte("<?php\ndefine('DB_FILE', 'shop.db');\ndefine('SHOP_NAME', 'Zoë''s Chairs & Tables');\n"), 0o640)
	return tree.settle()
}

// tree makes files and remembers the first error.
type tree struct {
	root string
	r    *rand.Rand
	err  error
}

func (t *tree) do(act func() error) {
	if t.err == nil {
		t.err = act()
	}
}

func (t *tree) dir(name string) {
	t.do(func() error { return os.MkdirAll(filepath.Join(t.root, name), 0o755) })
}

func (t *tree) file(name string, data []byte, mode fs.FileMode) {
	t.dir(filepath.Dir(name))
	path := filepath.Join(t.root, name)
	t.do(func() error { return os.WriteFile(path, data, 0o600) })
	t.do(func() error { return os.Chmod(path, mode) }) // the umask does not count
	at := opened.Add(time.Duration(t.r.IntN(300*24*3600)) * time.Second)
	t.do(func() error { return os.Chtimes(path, at, at) })
}

func (t *tree) link(name, to string) {
	t.dir(filepath.Dir(name))
	t.do(func() error { return os.Symlink(to, filepath.Join(t.root, name)) })
}

// settle sets mode and time of the directories, which filling them has changed.
func (t *tree) settle() error {
	t.do(func() error {
		return filepath.WalkDir(t.root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.IsDir() {
				return err
			}
			if err := os.Chmod(path, 0o755); err != nil {
				return err
			}
			return os.Chtimes(path, opened, opened)
		})
	})
	return t.err
}

// noise does not compress, like the pictures of a shop.
func noise(r *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

func source(r *rand.Rand, i int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<?php\n// page %d\nclass Page%d extends Page {\n", i, i)
	for j := range 10 + r.IntN(120) {
		fmt.Fprintf(&b, "\tpublic function step%d($x) { return $this->call('%s', $x + %d); }\n", j, word(r), r.IntN(1000))
	}
	b.WriteString("}\n")
	return b.Bytes()
}
