package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

func TestAddressesOfServers(t *testing.T) {
	for dsn, want := range map[string]string{
		"//u@h/d":                             "h 5432 u d d at h:5432",
		"//u@h:5433/d":                        "h 5433 u d d at h:5433",
		"//u@[::1]:99/d":                      "::1 99 u d d at [::1]:99",
		"//u@/d":                              "/run/postgresql 5432 u d d at /run/postgresql/.s.PGSQL.5432",
		"//u@/d?host=/tmp/x&port=77":          "/tmp/x 77 u d d at /tmp/x/.s.PGSQL.77",
		"//a%40b@h/x%20y%2Fz?sslmode=require": "h 5432 a@b x y/z x y/z at h:5432",
		"//u@h/d?host=/tmp/s":                 "",
		"//u@h:1/d?port=2":                    "",
		"//u@h/d?port=0":                      "",
		"//u@h/d?sslmode=maybe":               "",
		"//u@h/d#e":                           "",
		"//u:@h/d":                            "",
		"//u@h/d?service=x":                   "",
		"//h/d":                               "",
		"u@h/d":                               "",
		"//u@h":                               "",
	} {
		s, err := parse(dump.Location{Address: dsn, Password: sdk.NewSecret("geheim")})
		got := ""
		if err == nil {
			got = fmt.Sprint(s.host, " ", s.port, " ", s.user, " ", s.database, " ", s.place)
		}
		if got != want {
			t.Errorf("%s: got %q (%v), want %q", dsn, got, err, want)
		}
	}
}

// What libpq would take from the environment does not reach the server's
// programs, nor this package's own connections.
func TestNothingOfTheEnvironmentCounts(t *testing.T) {
	for _, name := range []string{"PGPASSWORD", "PGUSER", "PGDATABASE", "PGHOST", "PGOPTIONS", "PGPASSFILE", "PGSSLMODE"} {
		t.Setenv(name, "fromoutside")
	}
	t.Setenv("PGPORT", "1")
	s, err := parse(dump.Location{Address: "//it's%20u@/d%27?host=/tmp/x", Password: sdk.NewSecret(`a'b\c d`)})
	if err != nil {
		t.Fatal(err)
	}
	if env := strings.Join(s.environment(), "\n"); strings.Contains(env, "fromoutside") || !strings.Contains(env, "\nPGPASSWORD=a'b\\c d") || !strings.Contains(env, "\nPGPORT=5432") {
		t.Errorf("the programs get %s", env)
	}
	config, err := s.config("d'")
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "/tmp/x" || config.Port != 5432 || config.User != "it's u" || config.Database != "d'" || config.Password != `a'b\c d` || config.RuntimeParams["options"] != "" {
		t.Errorf("the driver gets %+v", config)
	}
}

func TestTitlesTellRelationsApart(t *testing.T) {
	for _, c := range [][3]string{{"public", "a", "a"}, {"sales", "a", "sales.a"}, {"public", "sales.a", `public."sales.a"`}, {"public", `"`, `"`}, {"s", `x"y.z`, `s."x""y.z"`}} {
		if got := title(c[0], c[1]); got != c[2] {
			t.Errorf("%q %q is %q", c[0], c[1], got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.OneOf(rapid.StringMatching(`[a."]{1,4}`), rapid.Just("public"))
		a, b, c, d := part.Draw(t, "a"), part.Draw(t, "b"), part.Draw(t, "c"), part.Draw(t, "d")
		if title(a, b) == title(c, d) && (a != c || b != d) {
			t.Fatalf("%q.%q and %q.%q are both %q", a, b, c, d, title(a, b))
		}
	})
}

func TestVersionsOfPrograms(t *testing.T) {
	for text, want := range map[string]string{
		"pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": "15.18 true",
		"psql (PostgreSQL) 15.13\n":                             "15.13 false",
		"psql (PostgreSQL) 17.6":                                "17.6 true",
		"psql (PostgreSQL) 18beta1":                             "18.0 true",
		"psql (PostgreSQL) 12.22":                               "12.22 false",
		"mariadb 10":                                            "",
	} {
		p, ok := parseProgram(psql, "/x", text)
		got := ""
		if ok {
			got = fmt.Sprintf("%d.%d %v", p.major, p.minor, p.restricts())
		}
		if got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
}

func TestFaultsOfProgramsAreToldByTheirCode(t *testing.T) {
	p := program{name: psql}
	said := "psql:<stdin>:3: WARNING:  01000: careful\nLOCATION:  f, x.c:1\npsql:<stdin>:7: ERROR:  23505: duplicate key\nDETAIL:  Key (a)=(1) exists.\nCONTEXT:  COPY t, line 1\nLOCATION:  f, x.c:1\n"
	if got := p.fault(said); got.code != "23505" || got.text != "duplicate key; Key (a)=(1) exists.; COPY t, line 1" {
		t.Errorf("it is %+v", got)
	}
	p = program{name: pgDump}
	for said, want := range map[string]string{
		"pg_dump: error: Dumping the contents of table \"b\" failed: PQgetResult() failed.\npg_dump: detail: Error message from server: ERROR:  column \"y\" of relation \"b\" does not exist\npg_dump: detail: Command was: COPY": codeNoColumn,
		"pg_dump: error: query failed: ERROR:  relation \"public.b\" does not exist\n":    codeNoTable,
		"pg_dump: error: query failed: ERROR:  canceling statement due to lock timeout\n": codeLockTimeout,
		"pg_dump: error: query failed: ERROR:  permission denied for table b\n":           codeNoPrivilege,
		"pg_dump: error: query failed: server closed the connection unexpectedly\n":       "08006",
		"pg_dump: error: could not do what nobody has heard of\n":                         "",
	} {
		if got := p.fault(said); got.code != want || got.text == "" {
			t.Errorf("%s is %+v", said, got)
		}
	}
}

// filtered passes a text in pieces of random sizes.
func filtered(t rapid.TB, text string) (*filter, string) {
	t.Helper()
	var out bytes.Buffer
	f := &filter{w: &out, sum: dump.NewChecksum(), seen: func(int64) {}}
	if err := f.pass(context.Background(), iotest.OneByteReader(strings.NewReader(text))); err != nil {
		t.Fatal(err)
	}
	return f, out.String()
}

func TestFilterCountsRowsAndTakesCommandsOut(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	text := "--\n-- it's a \"comment; COPY x FROM stdin;\n--\n\n\\restrict KEY\n\nSET a = 'COPY; -- FROM stdin';\n" +
		"COPY public.\"odd; FROM stdin;\nname\" (a, \"b\"\"c\") FROM stdin;\n1\t\\N\n\\\\.\n\\restrict KEY2\n" + long + "\n\\.\n\n\n" +
		"COPY public.empty  FROM stdin;\n\n\n\\.\n" +
		"SELECT pg_catalog.setval('public.\"it''s, 5, true);\"', -7, false);\n\n\\restrict LATER\n\\unrestrict OTHER\n\\unrestrict KEY\n\n"
	f, out := filtered(t, text)
	if f.rows != 6 || f.inCopy {
		t.Errorf("it counts %d rows", f.rows)
	}
	want := strings.Replace(strings.Replace(text, "\\restrict KEY\n", "", 1), "\\unrestrict KEY\n", "", 1)
	if out != want {
		t.Errorf("it passes on %q", out)
	}
	sum := dump.NewChecksum()
	for _, row := range []string{"1\t\\N", "\\\\.", "\\restrict KEY2", long, "", ""} {
		sum.Bytes([]byte(row))
		sum.Row()
	}
	addSequence(sum, []byte("-7"), false)
	if f.sum.String() != sum.String() {
		t.Errorf("the sum is %s, want %s", f.sum, sum)
	}
}

// What the filter sums up on the way out is what summer does on the way back,
// whatever the pieces.
func TestSumsOfLinesAreTheSameInBothDirections(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOf(rapid.StringMatching(`[a-c\\N\t]{0,9}`)).Draw(t, "lines")
		lines = slices.DeleteFunc(lines, func(line string) bool { return line == `\.` })
		body := strings.Join(append(lines, ""), "\n")
		f, _ := filtered(t, "COPY t (a) FROM stdin;\n"+body+"\\.\n")
		s := &summer{sum: dump.NewChecksum()}
		io.Copy(s, iotest.HalfReader(strings.NewReader(body)))
		if f.rows != int64(len(lines)) || s.rows != f.rows || s.sum.String() != f.sum.String() {
			t.Fatalf("%d and %d rows, %s and %s", f.rows, s.rows, f.sum, s.sum)
		}
	})
}

type fullDisk struct{}

var errFull = errors.New("no room")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestFilterStopsWhenNothingCanBeWritten(t *testing.T) {
	f := &filter{w: fullDisk{}}
	if err := f.pass(t.Context(), strings.NewReader("SELECT 1;\n")); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
