package compress

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

// forged is one entry of an archive made by an enemy, who writes a fitting
// manifest too.
type forged struct {
	name, content, link string
	kind                byte
	mode                int64
	unlisted            bool // not in the manifest
	listed              string
}

func dirEntry(name string) forged { return forged{name: name, kind: tar.TypeDir, mode: 0o755} }
func fileEntry(name string) forged {
	return forged{name: name, kind: tar.TypeReg, mode: 0o644, content: "x"}
}
func linkEntry(name, to string) forged {
	return forged{name: name, kind: tar.TypeSymlink, mode: 0o777, link: to}
}

func forge(t *testing.T, path string, entries []forged, after ...forged) {
	t.Helper()
	now := time.Unix(1_700_000_000, 0).UTC()
	var packed, manifest bytes.Buffer
	mw, err := newManifestWriter(&manifest, Manifest{Version: 1, Created: now})
	must(t, err)
	compressor, err := coding{format: formatZstd}.compressor(&packed)
	must(t, err)
	tw := tar.NewWriter(compressor)
	write := func(e forged) {
		header := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, Linkname: e.link, ModTime: now, Format: tar.FormatPAX}
		if e.kind == tar.TypeReg {
			header.Size = int64(len(e.content))
		}
		must(t, tw.WriteHeader(header))
		_, err := tw.Write([]byte(e.content))
		must(t, err)
	}
	for _, e := range entries {
		write(e)
		kind := map[byte]string{tar.TypeReg: typeFile, tar.TypeDir: typeDir, tar.TypeSymlink: typeLink}[e.kind]
		one := Entry{Path: strings.TrimSuffix(e.name, "/"), Type: kind, Mode: fmt.Sprintf("%04o", e.mode), MTime: now, Link: e.link, Size: int64(len(e.content))}
		if kind == typeFile {
			content := e.content
			if e.listed != "" {
				content = e.listed
			}
			sum := sha256.Sum256([]byte(content))
			one.SHA256 = hex.EncodeToString(sum[:])
		}
		if e.unlisted {
			continue
		}
		must(t, mw.add(one))
	}
	must(t, mw.end())
	write(forged{name: manifestName, kind: tar.TypeReg, mode: 0o644, content: manifest.String() + "}\n"})
	for _, e := range after {
		write(e)
	}
	must(t, tw.Close())
	must(t, compressor.Close())
	must(t, os.WriteFile(path, packed.Bytes(), 0o644))
}

func TestHostileArchivesAreRefusedAndLeaveNothing(t *testing.T) {
	top := dirEntry("./")
	changed := fileEntry("a")
	changed.listed = "y"
	surplus := fileEntry("a")
	surplus.unlisted = true
	setuid := fileEntry("a")
	setuid.mode = 0o4755
	for _, c := range []struct {
		name    string
		entries []forged
		after   []forged
		want    string
	}{
		{"absolute path", []forged{top, fileEntry("/etc/evil")}, nil, "is a path that is refused"},
		{"dots in front", []forged{top, fileEntry("../evil")}, nil, "is a path that is refused"},
		{"dots inside", []forged{top, dirEntry("a/"), fileEntry("a/../../evil")}, nil, "is a path that is refused"},
		{"the parent itself", []forged{top, dirEntry("../")}, nil, "is a path that is refused"},
		{"dot segments", []forged{top, fileEntry("./a")}, nil, "is a path that is refused"},
		{"root as a file", []forged{fileEntry(".")}, nil, "is a path that is refused"},
		{"link out", []forged{top, linkEntry("l", "../evil")}, nil, "leads out of the target"},
		{"link out by detour", []forged{top, dirEntry("a/"), linkEntry("a/l", "../../x/a")}, nil, "leads out of the target"},
		{"absolute link", []forged{top, linkEntry("l", "/etc/passwd")}, nil, "leads out of the target"},
		{"through a link", []forged{top, dirEntry("d/"), linkEntry("l", "d"), fileEntry("l/evil")}, nil, "is in no directory"},
		{"link to the top and through", []forged{top, linkEntry("l", "."), fileEntry("l/evil")}, nil, "is in no directory"},
		{"hard link", []forged{top, {name: "h", kind: tar.TypeLink, link: "/etc/shadow", mode: 0o644}}, nil, "is a hard link"},
		{"character device", []forged{top, {name: "dev", kind: tar.TypeChar, mode: 0o666}}, nil, "is a device"},
		{"block device", []forged{top, {name: "dev", kind: tar.TypeBlock, mode: 0o666}}, nil, "is a device"},
		{"named pipe", []forged{top, {name: "pipe", kind: tar.TypeFifo, mode: 0o666}}, nil, "is a device"},
		{"setuid", []forged{top, setuid}, nil, "setuid"},
		{"twice", []forged{top, fileEntry("a"), fileEntry("a")}, nil, "twice there"},
		{"directory over link", []forged{top, linkEntry("a", "b"), dirEntry("a/"), fileEntry("a/x")}, nil, "twice there"},
		{"out of order", []forged{top, fileEntry("b"), fileEntry("a")}, nil, "out of order"},
		{"no top", []forged{fileEntry("a")}, nil, "is in no directory"},
		{"other content than the manifest says", []forged{top, changed}, nil, "another content"},
		{"not in the manifest", []forged{top, surplus}, nil, "is not in the manifest"},
		{"after the manifest", []forged{top}, []forged{fileEntry("z")}, "entries after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "room")
			must(t, os.Mkdir(dir, 0o755))
			forge(t, dir+"/evil.tar.zst", c.entries, c.after...)
			h := sdktest.New(t, Plugin())
			for _, overwrite := range []bool{false, true} {
				target := dir + "/target"
				if overwrite {
					target = tree{"mine": "mine"}.write(t, dir+"/full")
				}
				before := names(look(t, filepath.Dir(dir)))
				result := h.Execute(t.Context(), sdktest.Start{Controller: "restore",
					Settings: map[string]any{"archive": dir + "/evil.tar.zst", "target": target, "overwrite": overwrite}})
				if result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(result.Message, c.want) {
					t.Errorf("ended as %v: %s", result.Status, result.Message)
				}
				if after := names(look(t, filepath.Dir(dir))); !slices.Equal(before, after) {
					t.Errorf("there is now %q, was %q", after, before)
				}
			}
			if _, err := os.Lstat("/etc/evil"); err == nil {
				t.Error("it left the target")
			}
		})
	}
}

func TestUnsafeLinksAreSkippedOrKeptOnlyWhenToldTo(t *testing.T) {
	dir := t.TempDir()
	forge(t, dir+"/a.tar.zst", []forged{dirEntry("./"), fileEntry("f"), linkEntry("l", "/etc/passwd")})
	for how, want := range map[string]string{"skip": "f", "keep": "f l"} {
		h := sdktest.New(t, Plugin())
		h.Execute(t.Context(), sdktest.Start{Controller: "restore", BaseDir: dir,
			Settings: map[string]any{"archive": "a.tar.zst", "target": how, "unsafe_links": how}}).RequireCompleted(t)
		if got := strings.Join(names(look(t, dir+"/"+how)), " "); got != want {
			t.Errorf("%s restored %s", how, got)
		}
	}
}

func TestBombIsRefusedByItsRatio(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/s", 0o755))
	f, err := os.Create(dir + "/s/zeros")
	must(t, err)
	must(t, f.Truncate(ratioFrom+64<<20))
	must(t, f.Close())
	h := sdktest.New(t, Plugin())
	h.Execute(t.Context(), sdktest.Start{BaseDir: dir, Settings: map[string]any{"source": "s", "backup_dir": "b"}}).RequireCompleted(t)
	result := h.Execute(t.Context(), sdktest.Start{Controller: "restore", BaseDir: dir, Settings: map[string]any{"backup_dir": "b", "target": "t", "max_ratio": 1000}})
	if result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(result.Message, "max_ratio") {
		t.Errorf("ended as %v: %s", result.Status, result.Message)
	}
}

func TestWhatIsNoArchiveIsSaidPlainly(t *testing.T) {
	dir := t.TempDir()
	tree{"text.tar.gz": "hello", "empty.tar.gz": "", "void/": ""}.write(t, dir)
	h := sdktest.New(t, Plugin())
	for archive, want := range map[string]string{"text.tar.gz": "neither zstd nor gzip", "empty.tar.gz": "neither zstd nor gzip",
		"missing": "there is no archive", "void": "no file in", "": "set archive"} {
		result := h.Execute(t.Context(), sdktest.Start{Controller: "verify", BaseDir: dir, Settings: map[string]any{"archive": archive}})
		if result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(result.Message, want) {
			t.Errorf("%q: ended as %v: %s", archive, result.Status, result.Message)
		}
	}
}
