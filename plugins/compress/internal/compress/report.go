package compress

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stepd/stepd/sdk"
)

// Report says what one backup is, to people: as the output "report", and as a
// text beside the archive. It names no file of an encrypted archive.
type Report struct {
	Task        string    `json:"task"`
	Run         uint64    `json:"run"`
	Made        time.Time `json:"made"`
	Seconds     float64   `json:"seconds,omitempty"`     // the archive took; not known when an earlier attempt has made it
	RunSeconds  float64   `json:"run_seconds,omitempty"` // since the run was asked for
	Archive     string    `json:"archive"`
	File        string    `json:"file"` // this report, as a text
	Source      string    `json:"source,omitempty"`
	Files       int64     `json:"files"`
	Entries     int64     `json:"entries"`
	RawBytes    int64     `json:"raw_bytes"`
	Tables      int       `json:"tables,omitempty"`
	Rows        int64     `json:"rows,omitempty"`
	Bytes       int64     `json:"bytes"`
	Ratio       float64   `json:"ratio"` // bytes / raw_bytes
	SHA256      string    `json:"sha256"`
	Encryption  string    `json:"encryption,omitempty"`
	Recipients  int       `json:"recipients,omitempty"`
	Compression string    `json:"compression"`
	Verified    string    `json:"verified"`
}

func reportPath(archive string) string { return archive + ".report.txt" }

// notReadYet is how an archive is verified when it was made.
const notReadYet = "the hash was taken while it was written; it was not read back yet (compress/verify does that)"

func (m *maker) report(a *Archive, info sdk.Info, source string, took time.Duration) Report {
	now := time.Now().UTC()
	r := Report{Task: m.head.Task, Run: m.head.Run, Made: now, Seconds: took.Seconds(), Archive: a.Path, File: reportPath(a.Path),
		Files: a.Files, Entries: a.Entries, RawBytes: a.RawBytes, Tables: len(m.tables), Bytes: a.Bytes, Ratio: a.Ratio, SHA256: a.SHA256,
		Encryption: a.Encryption, Recipients: len(m.recipients), Compression: m.head.Format + ", level " + m.coding.level, Verified: notReadYet}
	if m.names {
		r.Source = source
	}
	if !info.RunCreatedAt.IsZero() {
		r.RunSeconds = now.Sub(info.RunCreatedAt).Seconds()
	}
	for _, t := range m.tables {
		r.Rows += t.Rows
	}
	return r
}

const reportTitle, verifiedLine = "Backup by stepd: ", "verified    "

func (r Report) text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s%s\n", name, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " "))
	}
	fmt.Fprintf(&b, "%s%s/%d\n\n", reportTitle, strings.ReplaceAll(r.Task, "\n", " "), r.Run)
	if r.Source != "" {
		line("what", "%s", r.Source)
	}
	line("holds", "%s, %s (%d entries, %d bytes)", sdk.Count(r.Files, "file"), sdk.Bytes(r.RawBytes), r.Entries, r.RawBytes)
	if r.Tables > 0 {
		line("tables", "%d, with %s", r.Tables, sdk.Count(r.Rows, "row"))
	}
	line("made", "%s", r.Made.Format(time.RFC3339))
	if r.Seconds > 0 {
		line("took", "%s for the archive", seconds(r.Seconds))
	}
	if r.RunSeconds > 0 {
		line("run took", "%s until then", seconds(r.RunSeconds))
	}
	line("where", "%s", r.Archive)
	ratio := ""
	if r.RawBytes > 0 {
		ratio = fmt.Sprintf(", %.1f %% of what it holds", r.Ratio*100)
	}
	line("size", "%s (%d bytes)%s", sdk.Bytes(r.Bytes), r.Bytes, ratio)
	line("compressed", "%s", r.Compression)
	if r.Encryption != "" {
		line("encrypted", "%s, to %s", r.Encryption, sdk.Count(int64(r.Recipients), "recipient"))
	}
	line("sha256", "%s", r.SHA256)
	line(strings.TrimSpace(verifiedLine), "%s", r.Verified)
	return b.String()
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < time.Minute {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// noteVerified writes into the report beside an archive how it was verified
// last. Where there is no report there is nothing to note.
func noteVerified(archive, how string) error {
	path := reportPath(archive)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > 64<<10 {
		return fmt.Errorf("%s is no report", path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(raw), reportTitle) {
		return fmt.Errorf("%s is no report", path)
	}
	var b strings.Builder
	for line := range strings.Lines(string(raw)) {
		if !strings.HasPrefix(line, verifiedLine) {
			b.WriteString(line)
		}
	}
	fmt.Fprintf(&b, "%s%s: %s\n", verifiedLine, time.Now().UTC().Format(time.RFC3339), strings.ReplaceAll(how, "\n", " "))
	return writeReport(path, b.String())
}

// writeReport replaces the report as a whole. What a crash leaves has always the
// same name, and is replaced too.
func writeReport(path, text string) error {
	part := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".part")
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	defer os.Remove(part) // nothing is there any more when all went well
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
