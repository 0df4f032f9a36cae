package sqlite

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math"
	"math/big"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func memory(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func sqlOf(t rapid.TB, v any) string {
	t.Helper()
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	if err := writeValue(w, v); err != nil {
		t.Fatal(err)
	}
	w.Flush()
	return b.String()
}

func TestValuesEvaluateToThemselves(t *testing.T) {
	db := memory(t)
	real := rapid.OneOf(
		rapid.Map(rapid.Uint64(), math.Float64frombits),
		rapid.Map(rapid.Uint64Max(1<<53), math.Float64frombits), // subnormal
		rapid.Map(rapid.Int64Range(-1e12, 1e12), func(n int64) float64 { return float64(n) / 100 }),
		rapid.Float64Range(-1e6, 1e6),
		rapid.SampledFrom([]float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, 1 << 53, 1e22, 1e23, 0.5, 4, 1024}),
	)
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[\r\n\\r0-9';\x00a"-]{0,12}`), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	rapid.Check(t, func(t *rapid.T) {
		var v any
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			v = rapid.Int64().Draw(t, "integer")
		case 1:
			if v = real.Draw(t, "real"); math.IsNaN(v.(float64)) {
				return
			}
		case 2:
			v = text.Draw(t, "text")
		case 3:
			v = rapid.SliceOf(rapid.Byte()).Draw(t, "blob")
		}
		literal := sqlOf(t, v)
		var got any
		if err := db.QueryRow("SELECT " + literal).Scan(&got); err != nil {
			t.Fatalf("%s: %v", literal, err)
		}
		same := got == nil && v == nil
		switch v := v.(type) {
		case int64:
			same = got == v
		case string:
			same = got == v
		case float64:
			f, ok := got.(float64)
			same = ok && math.Float64bits(f) == math.Float64bits(v)
		case []byte:
			b, ok := got.([]byte)
			same = ok && bytes.Equal(b, v)
		}
		if !same {
			t.Fatalf("%#v became %#v through %.200s", v, got, literal)
		}
		if strings.ContainsAny(literal, "\x00\r") {
			t.Fatalf("the client would change %q", literal)
		}
	})
}

// A decimal is used only where arithmetic with rounding to extended precision
// first and to double then comes to the same number.
func TestDecimalsDoNotDependOnTheArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := math.Abs(rapid.OneOf(rapid.Map(rapid.Int64(), func(n int64) float64 { return float64(n>>10) / 1e4 }), rapid.Float64Range(0, 1e20)).Draw(t, "v"))
		text, ok := safeDecimal(v)
		if !ok {
			return
		}
		exact, _, err := big.ParseFloat(text, 10, 2000, big.ToNearestEven)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, mode := range []big.RoundingMode{big.ToZero, big.AwayFromZero, big.ToNearestEven} {
			rounded, _ := new(big.Float).SetPrec(64).SetMode(mode).Set(exact).Float64()
			if rounded != v {
				t.Fatalf("%s is %v when rounded %v to 64 bits, want %v", text, rounded, mode, v)
			}
		}
	})
}

func TestReadableWhereItCanBe(t *testing.T) {
	for v, want := range map[any]string{
		19.99: "19.99", -0.5: "-0.5", 3.0: "3.0", 1e15: "1000000000000000.0", 0.30000000000000004: "CAST(1351079888211149 AS REAL)/4503599627370496",
		"it's": "'it''s'", "a\r\nb": `replace('a\r` + "\n" + `b','\r',char(13))`, "\xff": "CAST(X'ff' AS TEXT)", int64(math.MinInt64): "-9223372036854775808",
	} {
		if got := sqlOf(t, v); got != want {
			t.Errorf("%#v is written as %s, want %s", v, got, want)
		}
	}
}

func TestStatementsAreSplitWhereTheyEnd(t *testing.T) {
	script := "-- first; comment\n/* ; */ CREATE TABLE a(x /* ; */, \"y;\" -- ;\n);;\n" +
		"INSERT INTO a VALUES('it''s; ok\n;'), (';');\n" +
		"CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; SELECT [;END;]; END;\n" +
		"create trigger if not exists u after insert on a begin select 1; /* x */ end ;COMMIT;"
	s := newStatements(iotestReader{strings.NewReader(script)})
	var got []string
	for {
		statement, err := s.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(statement))
	}
	want := []string{"CREATE TABLE a", "INSERT INTO a VALUES", "CREATE TEMP TRIGGER", "create trigger if", "COMMIT;"}
	if len(got) != len(want) {
		t.Fatalf("got %d statements: %q", len(got), got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) || !strings.HasSuffix(got[i], ";") {
			t.Errorf("statement %d is %q", i+1, got[i])
		}
	}
	for _, unfinished := range []string{"SELECT 1", "SELECT 'x;", "CREATE TRIGGER t BEGIN SELECT 1;", `SELECT "`} {
		if _, err := newStatements(strings.NewReader(unfinished)).next(); err == nil || err == io.EOF {
			t.Errorf("%q was taken as whole: %v", unfinished, err)
		}
	}
}

// iotestReader gives one byte a time: tokens cross the reads.
type iotestReader struct{ r io.Reader }

func (r iotestReader) Read(p []byte) (int, error) { return r.r.Read(p[:min(1, len(p))]) }

func FuzzTokensLoseNothing(f *testing.F) {
	f.Add("CREATE TABLE a(x) -- c\n/* d */ 'e''f' \"g\" [h] `i` ; é \x00")
	f.Add("/*/ x */ --")
	f.Fuzz(func(t *testing.T, text string) {
		var b strings.Builder
		for _, token := range tokens(text) {
			b.WriteString(token.text)
		}
		if b.String() != text {
			t.Errorf("%q became %q", text, b.String())
		}
	})
}

// Random tables with random rows come back as they were, whatever the types of the
// columns make of the values.
func TestRandomTablesSurvive(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "B c", `d"e`, "f'g", "select", "rowid", "é;", "--", "x\ny"})
	types := rapid.SampledFrom([]string{"", "INTEGER", "INT", "TEXT", "REAL", "NUMERIC", "BLOB", "DATE", "BOOLEAN", "VARCHAR(9) COLLATE NOCASE"})
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		ctx := context.Background()
		columns := rapid.SliceOfNDistinct(names, 1, 6, rapid.ID).Draw(rt, "columns")
		var defs, marks []string
		for i, c := range columns {
			def := quoted(c) + " " + types.Draw(rt, "type")
			if i > 0 && rapid.IntRange(0, 5).Draw(rt, "generated") == 0 {
				def += " AS (" + quoted(columns[0]) + ") " + rapid.SampledFrom([]string{"STORED", "VIRTUAL"}).Draw(rt, "how")
			} else {
				marks = append(marks, quoted(c))
			}
			defs = append(defs, def)
		}
		create := "CREATE TABLE " + quoted(names.Draw(rt, "table")) + "(" + strings.Join(defs, ", ") + ")"
		table := unquote(tokens(create)[4].text)
		from := connectTest(rt, filepath.Join(dir, fmt.Sprint(n, "a.db")))
		defer from.Close()
		to := connectTest(rt, filepath.Join(dir, fmt.Sprint(n, "b.db")))
		defer to.Close()
		for _, s := range []*source{from, to} {
			if _, err := s.conn.ExecContext(ctx, create); err != nil {
				rt.Fatalf("%s: %v", create, err)
			}
		}
		for range rapid.IntRange(0, 30).Draw(rt, "rows") {
			values := make([]string, len(marks))
			for i := range values {
				values[i] = rapid.OneOf(
					rapid.SampledFrom([]string{"NULL", "''", "X''", "'1'", "'1.0'", "'1e3'", "'abc'", "9e999", "-0.0", "0.1+0.2", "9223372036854775807", "'9223372036854775808'", "' 7 '", "'0x10'", "1e300", "'a'||char(0)", "X'00'", "9007199254740993"}),
					rapid.Map(rapid.Float64(), realSQL), rapid.Map(rapid.Int64(), func(n int64) string { return fmt.Sprint(n) }),
				).Draw(rt, "value")
			}
			insert := "INSERT INTO " + quoted(table) + "(" + strings.Join(marks, ",") + ") VALUES(" + strings.Join(values, ",") + ")"
			if _, err := from.conn.ExecContext(ctx, insert); err != nil {
				rt.Fatalf("%s: %v", insert, err)
			}
		}
		script := dumpRows(rt, from, table)
		reader := newStatements(strings.NewReader(script))
		for {
			statement, err := reader.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				rt.Fatal(err)
			}
			if _, err := to.conn.ExecContext(ctx, string(statement)); err != nil {
				rt.Fatalf("%s: %v", statement, err)
			}
		}
		// Literals are exact and one to one, so scripts are equal only if values are.
		if again := dumpRows(rt, to, table); again != script {
			rt.Fatalf("%s\nbecame\n%s", script, again)
		}
	})
}

func dumpRows(t rapid.TB, s *source, table string) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := s.WriteRows(context.Background(), &b, table, dump.Range{}, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func connectTest(t rapid.TB, path string) *source {
	t.Helper()
	db, conn, err := connect(context.Background(), path, "mode=rwc&_pragma=synchronous(0)&_pragma=journal_mode(OFF)")
	if err != nil {
		t.Fatal(err)
	}
	return &source{path: path, db: db, conn: conn}
}
