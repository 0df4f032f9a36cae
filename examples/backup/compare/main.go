// Command compare says whether two databases hold the same and whether two trees
// of files are the same: the proof that a backup came back whole.
//
//	compare -db shop.db restored.db -files shop restored
//
// It exits with 1 when there is a difference, which it names, and with 2 when it
// cannot compare.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, out, faults io.Writer) int {
	pairs, err := parse(args)
	if err != nil {
		fmt.Fprintf(faults, "compare: %v\nusage: compare [-db A B] [-files A B]\n", err)
		return 2
	}
	report := &report{out: out}
	for _, p := range pairs {
		compare := compareTrees
		if p.database {
			compare = compareDatabases
		}
		if err := compare(ctx, p.a, p.b, report); err != nil {
			fmt.Fprintf(faults, "compare: %v\n", err)
			return 2
		}
	}
	if report.differences > 0 {
		fmt.Fprintf(out, "DIFFERENT: %d differences\n", report.differences)
		return 1
	}
	fmt.Fprintf(out, "SAME: %d tables with %d rows, %d files with %d bytes\n", report.tables, report.rows, report.files, report.bytes)
	return 0
}

type pair struct {
	database bool
	a, b     string
}

// parse reads flags that take two values each, which package flag cannot.
func parse(args []string) ([]pair, error) {
	var pairs []pair
	for len(args) > 0 {
		if args[0] != "-db" && args[0] != "-files" {
			return nil, fmt.Errorf("%q is neither -db nor -files", args[0])
		}
		if len(args) < 3 {
			return nil, fmt.Errorf("%s needs two paths", args[0])
		}
		pairs = append(pairs, pair{args[0] == "-db", args[1], args[2]})
		args = args[3:]
	}
	if len(pairs) == 0 {
		return nil, fmt.Errorf("there is nothing to compare")
	}
	return pairs, nil
}

// report collects what was compared.
type report struct {
	out         io.Writer
	differences int
	tables      int
	rows        int64
	files       int
	bytes       int64
}

const maxShown = 20

func (r *report) differ(format string, args ...any) {
	r.differences++
	if r.differences <= maxShown {
		fmt.Fprintf(r.out, "  differs: "+format+"\n", args...)
	} else if r.differences == maxShown+1 {
		fmt.Fprintln(r.out, "  ... and more")
	}
}
