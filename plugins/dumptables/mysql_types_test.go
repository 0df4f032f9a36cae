package main

import (
	"crypto/rand"
	"database/sql"
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

// allTypes holds a table for each type, with the values at its edges.
var allTypes = map[string][]string{
	"TINYINT":                            {"-128", "127", "0"},
	"TINYINT UNSIGNED":                   {"0", "255"},
	"SMALLINT ZEROFILL":                  {"0", "65535"},
	"MEDIUMINT":                          {"-8388608", "8388607"},
	"INT(5) ZEROFILL":                    {"42", "4294967295"},
	"BIGINT":                             {"-9223372036854775808", "9223372036854775807"},
	"BIGINT UNSIGNED":                    {"18446744073709551615"},
	"BOOLEAN":                            {"TRUE", "FALSE", "7"},
	"DECIMAL(65,30)":                     {"99999999999999999999999999999999999.999999999999999999999999999999", "-0.000000000000000000000000000001"},
	"DECIMAL(10,0)":                      {"-9999999999"},
	"FLOAT":                              {"3.4028234663852886e38", "-1.401298464324817e-45", "16777216", "16777217", "0.1", "-0e0", "1e39"},
	"FLOAT(10,3)":                        {"1.2345", "9999999.999"},
	"DOUBLE":                             {"1.7976931348623157e308", "-5e-324", "2.2250738585072014e-308", "0.1e0+0.2e0", "1e0/3", "-0e0", "1e15", "123456789012345678"},
	"DOUBLE(20,5)":                       {"99999999999999.99999", "0.00001"},
	"BIT(1)":                             {"b'0'", "b'1'"},
	"BIT(10)":                            {"b'1111111111'", "b'0'", "5"},
	"BIT(64)":                            {"18446744073709551615", "0", "39"},
	"DATE":                               {"'0000-00-00'", "'2001-02-30'", "'2001-00-00'", "'9999-12-31'", "'0001-01-01'"},
	"DATETIME(6)":                        {"'0000-00-00'", "'9999-12-31 23:59:59.999999'", "'2026-03-08 02:30:00.000001'"},
	"DATETIME":                           {"'1000-01-01 00:00:00'"},
	"TIMESTAMP NULL":                     {"'0000-00-00'", "'2038-01-19 03:14:07'", "'1970-01-01 00:00:01'", "'2026-11-01 05:30:00'", "'2026-11-01 06:30:00'"},
	"TIMESTAMP(6) NULL":                  {"'2038-01-19 03:14:07.999999'"},
	"TIME(6)":                            {"'-838:59:59.999999'", "'838:59:59.999999'", "'-00:00:00.000001'", "'00:00:00'"},
	"YEAR":                               {"0", "'0000'", "1901", "2155", "'70'"},
	"CHAR(10)":                           {"''", "' x'", "'x '", "'null'", "'NULL'"},
	"CHAR(0)":                            {"''"},
	"CHAR(5) BINARY":                     {"'a'"},
	"VARCHAR(100)":                       {"''", "'it''s'", `'\\'`, `'\0\n\r\Z\t\b%_'`, "'😀é'", "' '", "REPEAT('\\'',50)", "'x;\n-- y\n/* z'", "'`\"'"},
	"BINARY(4)":                          {"''", "x'00'", "x'ffffffff'", "'a '"},
	"VARBINARY(100)":                     {"''", "x'00'", "x'00ff27220a0d1a5c'", "'text'"},
	"TINYBLOB":                           {"''", "REPEAT(x'00',255)"},
	"BLOB":                               {"x'c328'", "REPEAT(x'ff',65535)"},
	"MEDIUMBLOB":                         {"REPEAT('a',100000)"},
	"LONGBLOB":                           {"REPEAT(x'0d0a',100000)"},
	"TINYTEXT":                           {"REPEAT('a',255)"},
	"TEXT":                               {"''", "'line\\r\\nline\\n\\r'", "REPEAT('😀',16383)", "'\\ufeff'"},
	"MEDIUMTEXT":                         {"REPEAT('\\n',70000)"},
	"LONGTEXT":                           {"REPEAT('ü\\\\',50000)"},
	"JSON":                               {`'{"a": "b\\"c\\n", "😀": [1, 1.0, null]}'`, "'null'", "'1'", `'"\\u0000"'`},
	"ENUM('a','','é','it''s, x','1')":    {"0", "''", "'é'", "'it''s, x'", "'1'", "1"},
	"ENUM('ä','b') CHARACTER SET latin1": {"'ä'", "'b'", "0"},
	"SET('a','b','é')":                   {"''", "'a,é'", "7"},
	"SET('','a','b')":                    {"0", "1", "3", "7", "'a'"},
	"SET('ä','b') CHARACTER SET ucs2":    {"'ä,b'", "''"},
	"VARCHAR(50) CHARACTER SET latin1":   {"x'e4f6fc80'", "x'00'", "'plain'", `'\\~'`, "x'ff'"},
	"VARCHAR(50) CHARACTER SET ucs2":     {"'aä😀'", "x'0000'", "''", "x'D83D'"},
	"VARCHAR(50) CHARACTER SET utf16":    {"'aä😀'"},
	"VARCHAR(50) CHARACTER SET utf16le":  {"'aä😀'"},
	"VARCHAR(50) CHARACTER SET utf32":    {"'aä😀'"},
	"VARCHAR(50) CHARACTER SET utf8mb3":  {"'aä€'"},
	"VARCHAR(50) CHARACTER SET sjis":     {"x'8340835c'", `'\\'`, `'~'`},
	"VARCHAR(50) CHARACTER SET big5":     {"x'a45c'"},
	"VARCHAR(50) CHARACTER SET gbk":      {"x'815c'", "x'bf27'"},
	"VARCHAR(50) CHARACTER SET swe7":     {"'[]{}@'"},
	"VARCHAR(50) CHARACTER SET ascii":    {"'x'"},
	"CHAR(20) CHARACTER SET cp1251":      {"'привет'"},
	"TEXT CHARACTER SET euckr":           {"'한국'"},
	"TEXT CHARACTER SET binary":          {"x'ff00'"},
	"VARCHAR(30) COMPRESSED":             {"REPEAT('a',30)", "''"},
	"MEDIUMBLOB COMPRESSED":              {"REPEAT('a',9000)"},
	"UUID":                               {"'123e4567-e89b-12d3-a456-426655440000'", "'00000000-0000-0000-0000-000000000000'"},
	"INET4":                              {"'0.0.0.0'", "'255.255.255.255'"},
	"INET6":                              {"'::'", "'2001:db8::ff00:42:8329'", "'::ffff:192.0.2.1'"},
	"GEOMETRY":                           {"ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))',4326)", "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))')"},
	"POINT":                              {"POINT(1.7976931348623157e308,-5e-324)"},
	"LINESTRING":                         {"ST_GeomFromText('LINESTRING(0 0,1 1,2 0)')"},
	"MULTIPOLYGON":                       {"ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))')"},
	"INT AS (1+1) VIRTUAL":               nil,
	"VARCHAR(20) AS (CONCAT('é','x')) STORED": nil,
}

func TestMySQLEveryTypeKeepsItsEdges(t *testing.T) {
	s := newShop(t, "SET sql_mode='ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO', time_zone='+00:00'")
	n := 0
	for kind, values := range allTypes {
		n++
		do(t, s.DB, fmt.Sprintf("CREATE TABLE t%d(id INT PRIMARY KEY AUTO_INCREMENT, v %s) COMMENT='%s'", n, kind, strings.ReplaceAll(kind, "'", "''")))
		if values == nil {
			do(t, s.DB, fmt.Sprintf("INSERT INTO t%d() VALUES(),()", n))
			continue
		}
		if kind != "TIMESTAMP" {
			do(t, s.DB, fmt.Sprintf("INSERT INTO t%d(v) VALUES(NULL)", n))
		}
		for _, value := range values {
			do(t, s.DB, fmt.Sprintf("INSERT IGNORE INTO t%d(v) VALUES(%s)", n, value))
		}
	}
	s.comesBack(t, serve(t), nil)
}

// Decimal digits of floating point numbers must hit the same bits again.
func TestMySQLFloatsKeepAllBits(t *testing.T) {
	s := newShop(t, "CREATE TABLE f(id INT PRIMARY KEY, f FLOAT, d DOUBLE)")
	random := mathrand.New(mathrand.NewPCG(1, 2))
	for block := range 4 {
		var rows []string
		for i := range 500 {
			d, f := math.Float64frombits(random.Uint64()), math.Float32frombits(random.Uint32())
			if math.IsNaN(d) || math.IsInf(d, 0) || math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
				continue
			}
			rows = append(rows, fmt.Sprintf("(%d,%.17g,%.17g)", block*500+i, f, d))
		}
		do(t, s.DB, "INSERT INTO f VALUES"+strings.Join(rows, ","))
	}
	s.comesBack(t, serve(t), nil)
}

// Values of any size come back, and none is held as a whole: large rows are read
// and written in pieces, with a key and without.
func TestMySQLLargeRowsKeepMemoryBounded(t *testing.T) {
	s := newShop(t,
		"CREATE TABLE keyed(name VARCHAR(20) CHARACTER SET latin1, n INT, b LONGBLOB, e ENUM('x','y'), t LONGTEXT CHARACTER SET utf8mb4, u LONGTEXT CHARACTER SET latin1, PRIMARY KEY(name,n))",
		"CREATE TABLE keyless(b LONGBLOB, n INT)",
		"CREATE TABLE docs(id INT PRIMARY KEY, doc JSON, g GEOMETRY)")
	noise := make([]byte, 5<<20)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	insert := func(query string, args ...any) {
		t.Helper()
		if _, err := s.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	insert("INSERT INTO keyed VALUES('small',1,'a','x','b','c'),('none',2,NULL,NULL,NULL,NULL)")
	insert("INSERT INTO keyed VALUES(x'e4',3,?,'y','ü',NULL)", noise)
	insert("INSERT INTO keyed VALUES('it''s',4,'','y',REPEAT('🦊é\\n',700000),REPEAT(x'e4',4500000))")
	insert("INSERT INTO keyed VALUES('held',5,?,'y',REPEAT('é',1000000),'x')", noise[:1<<20])
	insert("INSERT INTO keyless VALUES('a',1)")
	insert("INSERT INTO keyless VALUES(REPEAT(?,4),2)", noise)
	insert("INSERT INTO keyless VALUES(?,3),('z',4)", noise[5:])
	insert("INSERT INTO docs VALUES(1,CONCAT('[\"',REPEAT('é',2300000),'\"]'),POINT(1,2))")
	h := serve(t)
	var peak uint64
	measure := func(sdktest.Progress) {
		runtime.GC() // what is left is held
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
	}
	want := s.content(t)
	noise = nil
	dir := t.TempDir()
	start := sdktest.Start{Settings: settings{"dsn": s.dsn(), "target": dir}, OnProgress: measure}
	h.RunPlanned(t.Context(), start)
	back := namedShop(t)
	start.Controller, start.Settings = "restoretables", settings{"dsn": back.dsn(), "source": dir}
	start.WorkDir = t.TempDir()
	h.RunPlanned(t.Context(), start)
	t.Logf("peak %d MB", peak>>20)
	if peak > 60<<20 {
		t.Errorf("the heap held %d MB", peak>>20)
	}
	same(t, "restored", want, back.content(t))
	byClient := newShop(t)
	byClient.load(t, dir)
	same(t, "loaded by the client", want, byClient.content(t))
}

func TestMySQLMemoryDoesNotGrowWithTheTable(t *testing.T) {
	s := newShop(t, "CREATE TABLE big(n INT PRIMARY KEY, x VARCHAR(300), y DOUBLE)",
		"INSERT INTO big SELECT seq, REPEAT(MD5(seq),7), seq/7e0 FROM seq_1_to_200000")
	h := serve(t)
	var peak uint64
	measure := func(sdktest.Progress) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
	}
	dir := t.TempDir()
	start := sdktest.Start{Settings: settings{"dsn": s.dsn(), "target": dir}, OnProgress: measure}
	_, results := h.RunPlanned(t.Context(), start)
	back := namedShop(t)
	start.Controller, start.Settings, start.WorkDir = "restoretables", settings{"dsn": back.dsn(), "source": dir}, t.TempDir()
	h.RunPlanned(t.Context(), start)
	info, err := os.Stat(filepath.Join(dir, "001-big.sql"))
	if err != nil || info.Size() < 45<<20 {
		t.Fatalf("the dump is too small to tell: %v %v", info, err)
	}
	if peak == 0 || peak > 25<<20 {
		t.Errorf("the heap held %d MB for a dump of %d MB", peak>>20, info.Size()>>20)
	}
	progress := results["big"].Progress
	if last := progress[len(progress)-1]; last.Done != last.Total || last.Counters["rows"] != 200000 {
		t.Errorf("the last progress is %+v", last)
	}
	var sum sql.NullInt64
	if err := back.QueryRow("SELECT SUM(n) FROM big").Scan(&sum); err != nil || sum.Int64 != 20000100000 {
		t.Errorf("the sum is %v: %v", sum, err)
	}
}
