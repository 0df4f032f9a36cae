package compress

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	stepdv1 "github.com/stepd/stepd/sdk/proto/stepd/v1"
	"github.com/stepd/stepd/sdk/sdktest"
)

// pair is a key to encrypt to and the file of the key that opens it.
type pair struct{ public, file string }

func (p pair) secret(t testing.TB) string {
	t.Helper()
	content, err := os.ReadFile(p.file)
	must(t, err)
	return strings.TrimSpace(string(content))
}

func writeKey(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func ageKey(t testing.TB) pair {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	must(t, err)
	return pair{key.Recipient().String(), writeKey(t, "# of the test\n"+key.String()+"\n")}
}

func hybridKey(t testing.TB) pair {
	t.Helper()
	key, err := age.GenerateHybridIdentity()
	must(t, err)
	return pair{key.Recipient().String(), writeKey(t, key.String()+"\n")}
}

func sshKey(t testing.TB, kind, passphrase string) pair {
	t.Helper()
	var public, secret any
	var err error
	if kind == "rsa" {
		var key *rsa.PrivateKey
		key, err = rsa.GenerateKey(nil, 2048)
		must(t, err)
		public, secret = &key.PublicKey, key
	} else {
		var edPublic ed25519.PublicKey
		edPublic, secret, err = ed25519.GenerateKey(nil)
		must(t, err)
		public = edPublic
	}
	sshPublic, err := ssh.NewPublicKey(public)
	must(t, err)
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(secret, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(secret, "", []byte(passphrase))
	}
	must(t, err)
	return pair{string(ssh.MarshalAuthorizedKey(sshPublic)), writeKey(t, string(pem.EncodeToMemory(block)))}
}

// makeEncrypted is makeArchive with more settings.
func makeEncrypted(t testing.TB, format string, content tree, more map[string]any) made {
	t.Helper()
	dir := t.TempDir()
	m := made{h: sdktest.New(t, Plugin()), dir: dir, source: content.write(t, filepath.Join(dir, "shop"))}
	result := m.create(t, 42, format, more)
	result.RequireCompleted(t)
	result.Output(t, "archive", &m.archive)
	m.message = result.Message
	return m
}

func (m made) create(t testing.TB, run uint64, format string, more map[string]any) sdktest.Result {
	t.Helper()
	settings := map[string]any{"source": "shop", "backup_dir": "backups", "format": format, "name": "backup"}
	for k, v := range more {
		settings[k] = v
	}
	return m.h.Execute(t.Context(), sdktest.Start{BaseDir: m.dir, Task: "backup", Run: run, Settings: settings})
}

// betrays names files below dir that hold any of the words.
func betrays(t testing.TB, dir string, words ...string) []string {
	t.Helper()
	var list []string
	for name, text := range look(t, dir) {
		for _, word := range words {
			if strings.Contains(text, word) {
				list = append(list, name+" holds "+word)
			}
		}
	}
	return list
}

func TestEncryptedRoundTrip(t *testing.T) {
	for name, key := range map[string]pair{"age": ageKey(t), "hybrid": hybridKey(t), "ed25519": sshKey(t, "ed25519", ""), "rsa": sshKey(t, "rsa", "")} {
		formats(t, func(t *testing.T, format string) {
			t.Run(name, func(t *testing.T) {
				m := makeEncrypted(t, format, shop(), map[string]any{"recipients": []string{key.public}})
				if m.archive.Path != m.dir+"/backups/backup."+format+".age" || m.archive.Encryption != "age" || !strings.HasSuffix(m.message, ", encrypted") {
					t.Errorf("message %q, archive %+v", m.message, m.archive)
				}
				if told := betrays(t, m.dir+"/backups", "index.php", "a.jpg", "image", "symlink"); len(told) > 0 {
					t.Errorf("without a key: %q", told)
				}
				outside := m.run(t, "verify", map[string]any{"backup_dir": "backups"})
				outside.RequireCompleted(t)
				var verified Verified
				outside.Output(t, "verified", &verified)
				if verified.Content || !verified.Sealed || verified.SHA256 != m.archive.SHA256 || verified.Entries != m.archive.Entries || !strings.Contains(outside.Message, "its content was not read") {
					t.Errorf("%s, %+v", outside.Message, verified)
				}
				inside := m.run(t, "verify", map[string]any{"backup_dir": "backups", "identity_file": key.file})
				inside.RequireCompleted(t)
				inside.Output(t, "verified", &verified)
				if !verified.Content || !verified.Sealed || verified.Encryption != "age" || verified.Entries != m.archive.Entries {
					t.Errorf("%s, %+v", inside.Message, verified)
				}
				locked := m.run(t, "restore", map[string]any{"backup_dir": "backups", "target": "back"})
				if locked.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(locked.Message, "it is encrypted: set identity_file") {
					t.Errorf("restore without a key: %v: %s", locked.Status, locked.Message)
				}
				m.run(t, "restore", map[string]any{"backup_dir": "backups", "target": "back", "identity_file": key.file}).RequireCompleted(t)
				sameTrees(t, look(t, m.source), look(t, m.dir+"/back"))
				again := m.run(t, "restore", map[string]any{"backup_dir": "backups", "target": "back"})
				if again.Completed() || !strings.Contains(again.Message, "set identity_file") {
					t.Errorf("restore over the same without a key: %v: %s", again.Status, again.Message)
				}
				m.run(t, "restore", map[string]any{"backup_dir": "backups", "target": "back", "identity_file": key.file}).RequireCompleted(t)
			})
		})
	}
}

func TestTheAgeProgramAndWeOpenWhatTheOtherMade(t *testing.T) {
	keyFile := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("age-keygen", "-o", keyFile).CombinedOutput(); err != nil {
		t.Fatalf("age-keygen: %v: %s", err, out)
	}
	public, err := exec.Command("age-keygen", "-y", keyFile).Output()
	must(t, err)
	others := sshKey(t, "ed25519", "")
	for _, key := range []pair{{string(public), keyFile}, others} {
		formats(t, func(t *testing.T, format string) {
			m := makeEncrypted(t, format, shop(), map[string]any{"recipients": []string{string(public), others.public}})
			plain := filepath.Join(t.TempDir(), "backup."+format)
			if out, err := exec.Command("age", "-d", "-i", key.file, "-o", plain, m.archive.Path).CombinedOutput(); err != nil {
				t.Fatalf("age -d: %v: %s", err, out)
			}
			m.run(t, "verify", map[string]any{"archive": plain}).RequireCompleted(t)
			into := t.TempDir() + "/x"
			must(t, os.Mkdir(into, 0o755))
			tool := map[string]string{formatZstd: "zstd", formatGzip: "gzip"}[format]
			if out, err := exec.Command("tar", "-I", tool, "-xpf", plain, "-C", into).CombinedOutput(); err != nil {
				t.Fatalf("tar: %v: %s", err, out)
			}
			got := look(t, into)
			delete(got, manifestName)
			sameTrees(t, look(t, m.source), got)

			theirs := filepath.Join(t.TempDir(), "theirs.age")
			if out, err := exec.Command("age", "-r", strings.TrimSpace(key.public), "-o", theirs, plain).CombinedOutput(); err != nil {
				t.Fatalf("age -r: %v: %s", err, out)
			}
			m.run(t, "restore", map[string]any{"archive": theirs, "target": "theirs", "identity_file": key.file}).RequireCompleted(t)
			sameTrees(t, look(t, m.source), look(t, m.dir+"/theirs"))
		})
	}
}

// With the manifest beside it no key is needed to find a flipped bit, and with
// the key no manifest.
func TestEveryFlippedBitOfAnEncryptedArchiveIsFound(t *testing.T) {
	key := ageKey(t)
	m := makeEncrypted(t, formatZstd, small(), map[string]any{"recipients": []string{key.public}})
	whole, err := os.ReadFile(m.archive.Path)
	must(t, err)
	side, err := os.ReadFile(m.archive.Manifest)
	must(t, err)
	path := m.dir + "/changed/backup.tar.zst.age"
	must(t, os.Mkdir(m.dir+"/changed", 0o755))
	verify := func(content []byte, sealed bool) sdktest.Result {
		must(t, os.WriteFile(path, content, 0o644))
		settings := map[string]any{"archive": path}
		if sealed {
			must(t, os.WriteFile(sidePath(path), side, 0o644))
		} else {
			must(t, os.RemoveAll(sidePath(path)))
			settings["identity_file"] = key.file
		}
		return m.run(t, "verify", settings)
	}
	for _, sealed := range []bool{true, false} {
		verify(whole, sealed).RequireCompleted(t)
		for i := range whole {
			changed := slices.Clone(whole)
			changed[i] ^= 1 << (i % 8)
			if result := verify(changed, sealed); result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.HasPrefix(result.Message, "archive /") {
				t.Errorf("bit %d of byte %d, sealed %v: %v: %s", i%8, i, sealed, result.Status, result.Message)
			}
		}
		for n := 0; n < len(whole); n += 1 + n/40 {
			if result := verify(whole[:n], sealed); result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.HasPrefix(result.Message, "archive /") {
				t.Errorf("cut to %d bytes, sealed %v: %v: %s", n, sealed, result.Status, result.Message)
			}
		}
		if result := verify(append(slices.Clone(whole), 0), sealed); result.Completed() {
			t.Errorf("an appended byte was not seen, sealed %v", sealed)
		}
	}
}

func TestTheManifestBesideAnEncryptedArchive(t *testing.T) {
	key := ageKey(t)
	m := makeEncrypted(t, formatZstd, small(), map[string]any{"recipients": []string{key.public}})
	hidden, err := os.ReadFile(m.archive.Manifest)
	must(t, err)
	check := func(side []byte, withKey bool) sdktest.Result {
		must(t, os.WriteFile(m.archive.Manifest, side, 0o644))
		settings := map[string]any{"archive": m.archive.Path}
		if withKey {
			settings["identity_file"] = key.file
		}
		return m.run(t, "verify", settings)
	}
	for _, c := range []struct{ from, to, want string }{
		{`"bytes":` + fmt.Sprint(m.archive.Bytes), `"bytes":1`, "it is not as it was made"},
		{m.archive.SHA256, strings.Repeat("0", 64), "it is not as it was made"},
		{`"archive"`, `"archived"`, "unknown member"},
		{`"version":1`, `"version":2`, "version 2"},
	} {
		changed := bytes.Replace(hidden, []byte(c.from), []byte(c.to), 1)
		for _, withKey := range []bool{false, true} {
			if result := check(changed, withKey); result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(result.Message, c.want) {
				t.Errorf("%s, with key %v: %v: %s", c.to, withKey, result.Status, result.Message)
			}
		}
	}
	for _, c := range []struct{ from, to string }{{`"entries":5`, `"entries":6`}, {`"run":42`, `"run":41`}, {`"task":"backup"`, `"task":"x"`}} {
		changed := bytes.Replace(hidden, []byte(c.from), []byte(c.to), 1)
		if bytes.Equal(changed, hidden) {
			t.Fatalf("the manifest has no %s: %s", c.from, hidden)
		}
		if result := check(changed, true); result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(result.Message, "differs from the one within") {
			t.Errorf("%s: %v: %s", c.to, result.Status, result.Message)
		}
	}
	must(t, os.Remove(m.archive.Manifest))
	if result := m.run(t, "verify", map[string]any{"archive": m.archive.Path}); result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(result.Message, "no manifest beside it") {
		t.Errorf("without manifest and key: %v: %s", result.Status, result.Message)
	}

	told := makeEncrypted(t, formatZstd, small(), map[string]any{"recipients": []string{key.public}, "manifest_names": true})
	listed, err := os.ReadFile(told.archive.Manifest)
	must(t, err)
	if !bytes.Contains(listed, []byte(`"path":"d/b"`)) {
		t.Errorf("the manifest does not list the entries: %s", listed)
	}
	for _, file := range []string{"", key.file} {
		told.run(t, "verify", map[string]any{"archive": told.archive.Path, "identity_file": file}).RequireCompleted(t)
	}
	must(t, os.WriteFile(told.archive.Manifest, bytes.Replace(listed, []byte("d/b"), []byte("d/c"), 1), 0o644))
	if result := told.run(t, "verify", map[string]any{"archive": told.archive.Path, "identity_file": key.file}); result.Completed() {
		t.Error("another name in the manifest beside it was not seen")
	}

	// One that is not encrypted has nothing to hide.
	plain := makeArchive(t, formatZstd, small())
	var m1 Manifest
	f, err := os.Open(plain.archive.Manifest)
	must(t, err)
	defer f.Close()
	m1, err = readManifest(f, func(Entry) error { return nil })
	must(t, err)
	raw, err := json.Marshal(m1)
	must(t, err)
	must(t, os.WriteFile(plain.archive.Manifest, raw, 0o644))
	if result := plain.run(t, "verify", map[string]any{"archive": plain.archive.Path}); result.Completed() {
		t.Error("a manifest without entries passed for one with")
	}
}

func TestKeysThatCannotBeUsedAreRefusedAndNeverRepeated(t *testing.T) {
	key, other := ageKey(t), ageKey(t)
	m := makeEncrypted(t, formatZstd, small(), map[string]any{"recipients": []string{key.public}})
	secret := key.secret(t)
	secret = secret[strings.LastIndex(secret, "\n")+1:]
	if !strings.HasPrefix(secret, "AGE-SECRET-KEY-1") {
		t.Fatal("the key is not what the test thinks")
	}
	list := func(content string, mode os.FileMode) string {
		path := writeKey(t, content)
		must(t, os.Chmod(path, mode))
		return path
	}
	refused := func(name string, result sdktest.Result, want string) {
		t.Helper()
		if result.Status != stepdv1.Result_STATUS_FAILED_PERMANENT || !strings.Contains(result.Message, want) {
			t.Errorf("%s: ended as %v: %s\nwant %q", name, result.Status, result.Message, want)
		}
		if strings.Contains(strings.ToUpper(result.Message), secret[16:]) || strings.Contains(result.Message, "PRIVATE KEY") {
			t.Errorf("%s: the secret key is repeated: %s", name, result.Message)
		}
	}
	for _, c := range []struct {
		name     string
		settings map[string]any
		want     string
	}{
		{"secret key", map[string]any{"recipients": []string{key.public, secret}}, "recipients: number 2 is a secret key"},
		{"secret key in lower case", map[string]any{"recipients": []string{strings.ToLower(secret)}}, "number 1 is a secret key"},
		{"secret key with a typo", map[string]any{"recipients": []string{"X" + secret}}, "number 1 is no public key"},
		{"secret ssh key", map[string]any{"recipients": []string{sshKey(t, "ed25519", "").secret(t)}}, "is a secret key"},
		{"typo", map[string]any{"recipients": []string{key.public[:40]}}, "is no public key"},
		{"nothing", map[string]any{"recipients": []string{""}}, "is no public key"},
		{"other ssh key", map[string]any{"recipients": []string{"ssh-dss AAAA"}}, "is no ssh-ed25519 or ssh-rsa public key"},
		{"two kinds that do not mix", map[string]any{"recipients": []string{key.public, hybridKey(t).public}}, "recipients: "},
		{"no file", map[string]any{"recipients_file": "missing"}, "no such file"},
		{"empty file", map[string]any{"recipients_file": list("# nobody\n\n", 0o644)}, "there is no recipient in"},
		{"file with a secret key", map[string]any{"recipients_file": list("# mine\n"+key.public+"\n"+secret+"\n", 0o644)}, "line 3 of"},
		{"file that all may write to", map[string]any{"recipients_file": list(key.public, 0o666)}, "everybody may write to"},
		{"directory", map[string]any{"recipients_file": "shop"}, "is not a file"},
	} {
		refused(c.name, m.create(t, 43, formatZstd, c.settings), c.want)
	}
	if got := names(look(t, m.dir+"/backups")); len(got) != 3 {
		t.Errorf("the directory of the archives holds %q", got)
	}
	for _, c := range []struct{ name, file, want string }{
		{"readable by others", list(secret, 0o640), "others may read"},
		{"writable by others", list(secret, 0o602), "chmod 600"},
		{"missing", "missing", "no such file"},
		{"key of somebody else", other.file, "no key of identity_file opens it"},
		{"public key", list(key.public, 0o600), "is not a file of secret keys"},
		{"typo", list("X"+secret, 0o600), "is not a file of secret keys"},
		{"empty", list("", 0o600), "is not a file of secret keys"},
		{"passphrase", sshKey(t, "ed25519", "p").file, "has a passphrase"},
		{"age with passphrase", list(ageMagic+"...", 0o600), "has a passphrase"},
		{"large", list(strings.Repeat("#", 2<<20), 0o600), "is no file of keys"},
	} {
		for _, controller := range []string{"verify", "restore"} {
			settings := map[string]any{"archive": m.archive.Path, "identity_file": c.file}
			if controller == "restore" {
				settings["target"] = "back"
			}
			refused(controller+" with "+c.name, m.run(t, controller, settings), c.want)
		}
	}
}

func TestRecipientsOfAFileAreAddedToThoseOfTheSettings(t *testing.T) {
	keys := []pair{ageKey(t), ageKey(t), sshKey(t, "ed25519", "")}
	file := writeKey(t, "# others\n\n  "+keys[1].public+"  \r\n"+keys[2].public)
	m := makeEncrypted(t, formatGzip, small(), map[string]any{"recipients": []string{keys[0].public}, "recipients_file": file})
	for _, key := range keys {
		m.run(t, "verify", map[string]any{"archive": m.archive.Path, "identity_file": key.file}).RequireCompleted(t)
	}
}

// copyTree copies the files of one directory: what a crash would leave.
func copyFlat(t testing.TB, from, to string) {
	t.Helper()
	must(t, os.MkdirAll(to, 0o755))
	entries, err := os.ReadDir(from)
	must(t, err)
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(from, entry.Name()))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(to, entry.Name()), content, 0o640))
	}
}

// A crash while archive and manifest get their names: the next attempt ends
// with both of them, and nothing that lies there meanwhile betrays a name.
func TestACrashWhilePublishingIsMadeGoodByTheNextAttempt(t *testing.T) {
	key := ageKey(t)
	for _, recipients := range [][]string{nil, {key.public}} {
		dir := t.TempDir()
		content := small()
		content["index.php"] = "words-of-the-file"
		source := content.write(t, dir+"/shop")
		crashes := 0
		h := sdktest.New(t, plugin(tuning{
			publishing: func(int) {
				crashes++
				copyFlat(t, dir+"/backups", fmt.Sprintf("%s/crash%d", dir, crashes))
			},
			afterRead: func(string) {
				if told := betrays(t, dir+"/backups", "index.php", "words-of"); recipients != nil && len(told) > 0 {
					t.Errorf("at work: %q", told)
				}
			},
		}))
		start := func(backups string, run uint64) sdktest.Start {
			return sdktest.Start{BaseDir: dir, Run: run, Settings: map[string]any{"source": source, "backup_dir": backups, "recipients": recipients, "name": "backup"}}
		}
		h.Execute(t.Context(), start("backups", 1)).RequireCompleted(t)
		copyFlat(t, dir+"/backups", dir+"/crash3")
		after := sdktest.New(t, Plugin())
		for n := 1; n <= 3; n++ {
			backups := fmt.Sprintf("%s/crash%d", dir, n)
			if told := betrays(t, backups, "index.php", "words-of"); recipients != nil && len(told) > 0 {
				t.Errorf("after crash %d: %q", n, told)
			}
			archives, err := filepath.Glob(backups + "/backup.tar.zst*")
			must(t, err)
			if slices.ContainsFunc(archives, func(p string) bool { return !strings.HasSuffix(p, ".json") }) {
				if other := after.Execute(t.Context(), start(backups, 2)); other.Completed() {
					t.Errorf("crash %d: another run took the name", n)
				}
			}
			result := after.Execute(t.Context(), start(backups, 1))
			result.RequireCompleted(t)
			if got := names(look(t, backups)); len(got) != 3 {
				t.Errorf("crash %d: there is %q", n, got)
			}
			after.Execute(t.Context(), sdktest.Start{Controller: "restore", Settings: map[string]any{
				"archive": backups, "target": backups + "/back", "identity_file": map[bool]string{true: key.file}[recipients != nil]}}).RequireCompleted(t)
			sameTrees(t, look(t, source), look(t, backups+"/back"))
		}
	}
}

func TestConcurrencyAndLevelsChangeNothingButTheBytes(t *testing.T) {
	content := shop()
	content["large"] = strings.Repeat("0123456789abcdef-", 600_000)
	formats(t, func(t *testing.T, format string) {
		tool := map[string]string{formatZstd: "zstd", formatGzip: "gzip"}[format]
		for concurrency, level := range map[int]string{1: "fastest", 2: "best", 3: "better", 8: "default"} {
			m := makeEncrypted(t, format, content, map[string]any{"concurrency": concurrency, "level": level})
			if out, err := exec.Command(tool, "-t", m.archive.Path).CombinedOutput(); err != nil {
				t.Fatalf("%s -t: %v: %s", tool, err, out)
			}
			m.run(t, "restore", map[string]any{"archive": m.archive.Path, "target": "back"}).RequireCompleted(t)
			sameTrees(t, look(t, m.source), look(t, m.dir+"/back"))
		}
	})
}
