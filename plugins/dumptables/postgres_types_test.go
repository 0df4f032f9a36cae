package main

import (
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stepd/stepd/sdk/sdktest"
)

// allPostgresTypes are types with the values at their edges.
var allPostgresTypes = map[string][]string{
	"smallint":                             {"-32768", "32767"},
	"integer":                              {"-2147483648", "2147483647"},
	"bigint":                               {"-9223372036854775808", "9223372036854775807"},
	"numeric":                              {"'NaN'", "'Infinity'", "'-Infinity'", "1e-1000", "-1e1000", "0.10", "1.000"},
	"numeric(1000,900)":                    {"1e-900", "-1e99"},
	"real":                                 {"'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "3.4028235e38", "1.4e-45", "0.1", "16777217"},
	"double precision":                     {"'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "1.7976931348623157e308", "5e-324", "0.1::float8+0.2", "1e15", "123456789012345678"},
	"money":                                {"'-92233720368547758.08'", "'92233720368547758.07'", "'0.01'", "'1234567.89'"},
	"boolean":                              {"true", "false"},
	"char(10)":                             {"''", "' x'", "'x '", "'null'", `E'\\N'`},
	"\"char\"":                             {"''", "'x'", `E'\\377'`},
	"varchar(50)":                          {"''", "' '", "'it''s'", `E'\\N'`, `E'\\.'`, `'NULL'`},
	"text":                                 {"''", `E'\b\f\n\r\t\v\\'`, `E'\x01\x1a\x7f'`, "'😀é'", "repeat('x',2000000)", `E'a\n\\.\nb'`, "E'\\uFEFF'", `E'\r'`, `E'x\t;\n-- y\n\\restrict z'`},
	"name":                                 {"'x'"},
	"bytea":                                {"''", "'\\x00'", "'\\x00ff5c270a0d'", "decode(repeat('00',1000000),'hex')"},
	"bit(5)":                               {"B'10101'", "B'00000'"},
	"bit varying":                          {"B''", "B'1'", "B'" + strings.Repeat("10", 100) + "'"},
	"date":                                 {"'infinity'", "'-infinity'", "'4713-01-01 BC'", "'5874897-12-31'", "'0001-12-31 BC'"},
	"time":                                 {"'00:00'", "'24:00:00'", "'23:59:59.999999'"},
	"timetz":                               {"'00:00+15:59:59'", "'24:00:00-15:59:59'"},
	"timestamp":                            {"'infinity'", "'4713-01-01 00:00:00 BC'", "'294276-12-31 23:59:59.999999'", "'2026-03-08 02:30'"},
	"timestamptz":                          {"'-infinity'", "'4713-01-01 00:00:00+00 BC'", "'294276-12-31 23:59:59.999999+00'", "'2026-11-01 05:30+00'", "'1900-01-01 00:00:00+00:17'"},
	"interval":                             {"'178000000 years'", "'-178000000 years -1 mon -3 days -04:05:06.789'", "'1 mon -1 day'", "'0'"},
	"uuid":                                 {"'123e4567-e89b-12d3-a456-426655440000'"},
	"json":                                 {`'{"a": 1,  "a": 2, "b\u0000": null }'`, `'"\n"'`},
	"jsonb":                                {`'{"a": [1, 1.0, null], "😀": "x\ny"}'`, "'null'", "'1e1000'"},
	"jsonpath":                             {`'$.a[*] ? (@ > 1)'`},
	"xml":                                  {"'<a>x</a>'", "'text only'"},
	"inet":                                 {"'0.0.0.0/0'", "'2001:db8::1/64'"},
	"cidr":                                 {"'10.0.0.0/8'", "'::/0'"},
	"macaddr":                              {"'08:00:2b:01:02:03'"},
	"macaddr8":                             {"'08:00:2b:01:02:03:04:05'"},
	"point":                                {"'(1e308,-5e-324)'", "'(NaN,Infinity)'"},
	"line":                                 {"'{1,-1,0}'"},
	"lseg":                                 {"'[(0,0),(1,1)]'"},
	"box":                                  {"'(1,1),(0,0)'"},
	"path":                                 {"'[(0,0),(1,1)]'", "'((0,0),(1,1))'"},
	"polygon":                              {"'((0,0),(1,0),(1,1))'"},
	"circle":                               {"'<(0,0),1e-300>'"},
	"tsvector":                             {`'a:1A ''it''''s'':2 ''back\\\\slash'''`, "''"},
	"tsquery":                              {"'a & !b:*A <2> c'"},
	"int4range":                            {"'empty'", "'(,)'", "'[1,5)'"},
	"numrange":                             {"'(1.5,Infinity]'"},
	"tstzrange":                            {"'[2020-01-01 00:00+00,infinity)'"},
	"nummultirange":                        {"'{[1,2),[3,4]}'", "'{}'"},
	"int[]":                                {"'{}'", "'{1,NULL,3}'", "'[2:3]={1,2}'", "'{{1,2},{3,4}}'"},
	"text[]":                               {`'{"","NULL",NULL,"a,b","q\"q","b\\\\s"}'`, `ARRAY[E'\n',E'\t']`},
	"float8[]":                             {"'{NaN,-0,Infinity}'"},
	"oid":                                  {"0", "4294967295"},
	"regclass":                             {"'pg_class'", "'public.t1'"},
	"regtype":                              {"'int4'"},
	"pg_lsn":                               {"'FFFFFFFF/FFFFFFFF'"},
	"xid8":                                 {"'18446744073709551615'"},
	"txid_snapshot":                        {"'10:20:10,14'"},
	"pg_snapshot":                          {"'10:20:10,14'"},
	"an_enum":                              {"''", "'it''s'", "'é'"},
	"a_row":                                {`ROW(NULL,NULL)`, `ROW(1,E'a,"\\\n')`},
	"a_domain":                             {"5"},
	"an_enum[]":                            {`'{"",é}'`},
	"hstore":                               {`'a=>NULL,"b c"=>"d\"e"'`},
	"text COLLATE \"C\"":                   {"'b'", "'B'"},
	"int GENERATED ALWAYS AS (1+1) STORED": nil,
}

func TestPostgresEveryTypeKeepsItsEdges(t *testing.T) {
	t.Parallel()
	s := newStore(t, "CREATE EXTENSION hstore", "CREATE TYPE an_enum AS ENUM('','it''s','é'); CREATE TYPE a_row AS (a int, b text); CREATE DOMAIN a_domain AS int CHECK (VALUE > 0)")
	var columns, statements []string
	for kind := range allPostgresTypes {
		columns = append(columns, fmt.Sprintf("c%d %s", len(columns)+1, kind))
	}
	statements = append(statements, "CREATE TABLE t1(id int GENERATED ALWAYS AS IDENTITY, "+strings.Join(columns, ", ")+"); INSERT INTO t1 DEFAULT VALUES")
	for i, column := range columns {
		_, kind, _ := strings.Cut(column, " ")
		for _, value := range allPostgresTypes[kind] {
			statements = append(statements, fmt.Sprintf("INSERT INTO t1(c%d) VALUES(%s)", i+1, value))
		}
	}
	s.do(t, "SET timezone='UTC'; SET lc_monetary='C'; SET extra_float_digits=3;"+strings.Join(statements, "; "))
	h := serve(t)
	s.comesBack(t, h, nil)
	// What the database or its users have set decides how values look.
	s.admin(t, "ALTER DATABASE "+s.name+" SET timezone='Asia/Kathmandu'; ALTER DATABASE "+s.name+" SET bytea_output='escape'; ALTER DATABASE "+s.name+
		" SET datestyle='German'; ALTER DATABASE "+s.name+" SET intervalstyle='sql_standard'; ALTER DATABASE "+s.name+" SET extra_float_digits=-5; ALTER DATABASE "+s.name+" SET search_path='pg_catalog'")
	dir, _ := s.dumped(t, h, nil)
	back := namedStore(t)
	back.restored(t, h, dir, nil)
	query := "SET timezone='UTC'; SET datestyle=ISO; SET extra_float_digits=3; SET bytea_output=hex; SET intervalstyle=postgres; SET search_path=public; SELECT md5(string_agg(t1::text, ',' ORDER BY id)), count(*) FROM t1"
	same(t, "from a database with settings of its own", s.ask(t, query), back.ask(t, query))
}

func TestPostgresFloatsKeepAllBits(t *testing.T) {
	s := newStore(t, "CREATE TABLE f(id int, f real, d float8)")
	random := mathrand.New(mathrand.NewPCG(1, 2))
	var rows []string
	for i := range 2000 {
		d, f := math.Float64frombits(random.Uint64()), math.Float32frombits(random.Uint32())
		if math.IsNaN(d) || math.IsInf(d, 0) || math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
			continue
		}
		rows = append(rows, fmt.Sprintf("(%d,%.9g,%.17g)", i, f, d))
	}
	s.do(t, "INSERT INTO f VALUES"+strings.Join(rows, ","))
	h := serve(t)
	dir, _ := s.dumped(t, h, nil)
	back := namedStore(t)
	back.restored(t, h, dir, nil)
	query := "SELECT md5(string_agg(encode(float4send(f) || float8send(d), 'hex'), '' ORDER BY id)) FROM f"
	same(t, "bits", s.ask(t, query), back.ask(t, query))
}

// Databases in other encodings, and in none, keep their bytes and their names.
func TestPostgresOtherEncodings(t *testing.T) {
	h := serve(t)
	for _, encoding := range []string{"LATIN1", "EUC_JP", "SQL_ASCII"} {
		t.Run(encoding, func(t *testing.T) {
			s := namedStore(t)
			s.admin(t, "CREATE DATABASE "+s.name+" TEMPLATE template0 ENCODING '"+encoding+"' LC_COLLATE 'C' LC_CTYPE 'C'")
			if encoding == "EUC_JP" {
				s.do(t, "CREATE TABLE \"表\"(\"列\" text); INSERT INTO \"表\" VALUES('日本'),('x')")
			} else {
				s.do(t, "CREATE TABLE \"tä\"(\"ö\" text); INSERT INTO \"tä\" VALUES('é'),('x')")
			}
			if encoding == "SQL_ASCII" {
				s.do(t, `SET client_encoding=SQL_ASCII; INSERT INTO "tä" VALUES(E'\xff\xfe'); CREATE TABLE raw(x text); INSERT INTO raw VALUES(E'\xc3\x28')`)
			}
			dir, _ := s.dumped(t, h, nil)
			back := namedStore(t)
			back.restored(t, h, dir, nil)
			same(t, "restored", s.content(t), back.content(t))
			if got := strings.TrimSpace(back.ask(t, "SHOW server_encoding")); got != encoding {
				t.Errorf("the new database has the encoding %s", got)
			}
		})
	}
}

// Long tables are not held in memory, nor several large values: the row of 42 MB
// may be, for a moment.
func TestPostgresMemoryDoesNotGrowWithTheTable(t *testing.T) {
	// The server makes what is large, so that none of it is the test's own memory.
	s := newStore(t, "CREATE TABLE big(n int, x text, y float8); INSERT INTO big SELECT i, repeat(md5(i::text),7), i/7e0 FROM generate_series(1,70000) i",
		"CREATE TABLE wide(b bytea, t text); INSERT INTO wide SELECT decode(repeat(string_agg(md5(i::text), ''), 5), 'hex'), repeat(E'\\\\\\n',6000000) FROM generate_series(1,196608) i",
		"SELECT lo_from_bytea(5, decode(repeat(string_agg(md5((-i)::text), ''), 4), 'hex')) FROM generate_series(1,196608) i")
	h := serve(t)
	var peak uint64
	measure := func(sdktest.Progress) {
		runtime.GC() // what is left is held
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
	}
	dir := t.TempDir()
	start := sdktest.Start{Settings: settings{"dsn": s.dsn(), "target": dir}, OnProgress: measure}
	_, results := h.RunPlanned(t.Context(), start)
	back := namedStore(t)
	start.Controller, start.Settings, start.WorkDir = "restoretables", settings{"dsn": back.dsn(), "source": dir}, t.TempDir()
	h.RunPlanned(t.Context(), start)
	info, err := os.Stat(filepath.Join(dir, "001-big.sql"))
	if err != nil || info.Size() < 16<<20 {
		t.Fatalf("the dump is too small to tell: %v %v", info, err)
	}
	if peak == 0 || peak > 64<<20 {
		t.Errorf("the heap held %d MB for a table of %d MB", peak>>20, info.Size()>>20)
	}
	progress := results["big"].Progress
	if last := progress[len(progress)-1]; last.Done != last.Total || last.Counters["rows"] != 70000 {
		t.Errorf("the last progress is %+v", last)
	}
	query := "SELECT sum(n), (SELECT md5(b) || md5(t) FROM wide), (SELECT md5(lo_get(5))) FROM big"
	same(t, "restored", s.ask(t, query), back.ask(t, query))
}
