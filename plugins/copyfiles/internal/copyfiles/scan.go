package copyfiles

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"time"

	"github.com/stepd/stepd/sdk"
)

// scanned is what there is to copy, as far as a quick look could tell.
type scanned struct {
	known        bool
	files, bytes int64
}

var errSlow = errors.New("the scan takes too long")

// scan counts what will be copied, unless that takes longer than scanTime.
func (c *copier) scan(ctx context.Context) (scanned, error) {
	var total scanned
	err := c.scanDir(ctx, c.source, "", false, time.Now().Add(c.scanTime), &total)
	switch {
	case ctx.Err() != nil:
		return scanned{}, context.Cause(ctx)
	case err != nil:
		return scanned{}, nil // too many to count first
	}
	total.known = true
	return total, nil
}

// scanDir leaves errors of the source to the walk that follows.
func (c *copier) scanDir(ctx context.Context, source *os.Root, dir string, included bool, until time.Time, total *scanned) error {
	f, err := source.Open(".")
	if err != nil {
		return nil
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(256)
		if ctx.Err() != nil || time.Now().After(until) {
			return errSlow
		}
		for _, entry := range entries {
			rel := path.Join(dir, entry.Name())
			if c.filter.excludes(rel) || dir == "" && isPart(entry.Name()) {
				continue
			}
			take := included || c.filter.includes(rel)
			if !entry.IsDir() {
				if take && entry.Type().IsRegular() {
					if info, err := source.Lstat(entry.Name()); err == nil {
						total.files, total.bytes = total.files+1, total.bytes+info.Size()
					}
				}
				continue
			}
			if !take && !c.filter.mayContain(rel) {
				continue
			}
			sub, err := source.OpenRoot(entry.Name())
			if err != nil {
				continue
			}
			if info, statErr := sub.Stat("."); statErr == nil && !os.SameFile(info, c.targetInfo) {
				err = c.scanDir(ctx, sub, rel, take, until, total)
			}
			sub.Close()
			if err != nil {
				return err
			}
		}
		if err != nil {
			return nil // the end, or what the walk will meet too
		}
	}
}

// report shows how far the copy is; partial is what was copied of the file at
// hand. By bytes where the total is known, else by files without a total.
func (c *copier) report(partial int64, rel string) {
	r := &c.state.Report
	switch {
	case !c.total.known:
		c.progress(float64(r.Files), 0, fmt.Sprintf("%s, %s: %s", sdk.Count(r.Files, "file"), sdk.Bytes(r.Bytes+partial), rel))
	case c.total.bytes == 0:
		c.progress(float64(r.Files), float64(c.total.files), rel)
	default:
		c.progress(float64(min(r.Bytes+partial, c.total.bytes)), float64(c.total.bytes), rel)
	}
}
