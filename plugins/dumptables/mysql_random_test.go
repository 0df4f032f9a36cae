package main

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// randomColumn draws a type and how a value of it is written.
func randomColumn(t *rapid.T) (kind string, value func(*rapid.T) string) {
	text := func(t *rapid.T) string { return sqlText(rapid.StringN(0, 30, -1).Draw(t, "text")) }
	bytes := func(most int) func(*rapid.T) string {
		return func(t *rapid.T) string {
			return fmt.Sprintf("x'%x'", rapid.SliceOfN(rapid.Byte(), 0, most).Draw(t, "bytes"))
		}
	}
	whole := func(t *rapid.T) string { return fmt.Sprint(rapid.Int64().Draw(t, "number")) }
	real := func(t *rapid.T) string {
		r := rapid.Float64().Draw(t, "real")
		if math.Abs(r) < 1e-38 {
			r = 0 // a FLOAT makes -0 of it, which the server shows as 0
		}
		return fmt.Sprintf("%.17g", r)
	}
	date := func(t *rapid.T) string {
		return fmt.Sprintf("'%04d-%02d-%02d %02d:%02d:%02d.%06d'", rapid.IntRange(0, 9999).Draw(t, "year"), rapid.IntRange(0, 12).Draw(t, "month"),
			rapid.IntRange(0, 31).Draw(t, "day"), rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute"),
			rapid.IntRange(0, 59).Draw(t, "second"), rapid.IntRange(0, 999999).Draw(t, "micro"))
	}
	kinds := map[string]func(*rapid.T) string{
		"TINYINT": whole, "INT UNSIGNED": whole, "BIGINT": whole, "DECIMAL(30,10)": real, "FLOAT": real, "DOUBLE": real, "DOUBLE(12,4)": real,
		"BIT(17)": whole, "DATE": date, "DATETIME(3)": date, "TIMESTAMP(6) NULL": date, "TIME(2)": date, "YEAR": whole,
		"VARCHAR(60)": text, "CHAR(20)": text, "TEXT": text, "LONGTEXT": text, "VARCHAR(60) CHARACTER SET latin1": bytes(60),
		"VARCHAR(60) CHARACTER SET ucs2": text, "TEXT CHARACTER SET sjis": bytes(30), "VARCHAR(40) CHARACTER SET utf8mb3": text,
		"VARBINARY(50)": bytes(50), "BINARY(7)": bytes(7), "BLOB": bytes(200), "LONGBLOB": bytes(500),
		"ENUM('a','','b;''c')": func(t *rapid.T) string { return fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "enum")) },
		"SET('x','','z')":      func(t *rapid.T) string { return fmt.Sprint(rapid.IntRange(0, 7).Draw(t, "set")) },
		"POINT":                func(t *rapid.T) string { return "POINT(" + real(t) + "," + real(t) + ")" },
	}
	kind = rapid.SampledFrom(slices.Sorted(maps.Keys(kinds))).Draw(t, "type")
	return kind, kinds[kind]
}

func sqlText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`).Replace(text) + "'"
}

// randomName is a name that a table or column may have.
func randomName(t *rapid.T, i int) string {
	name := rapid.StringOfN(rapid.RuneFrom([]rune("aZ09_-` '\"\\;/.,()%é字\n#*@$")), 0, 12, -1).Draw(t, "name")
	return "`" + strings.ReplaceAll(fmt.Sprintf("%s%d", name, i), "`", "``") + "`"
}

// randomTable draws statements that make a table and fill it.
func randomTable(t *rapid.T, i int) (statements []string) {
	name := randomName(t, i)
	var columns, names []string
	var values []func(*rapid.T) string
	for c := range rapid.IntRange(1, 6).Draw(t, "columns") {
		kind, value := randomColumn(t)
		column := randomName(t, c)
		extra := rapid.SampledFrom([]string{"", "", " COMMENT 'it''s; \\\\ a\\ncomment'", " INVISIBLE"}).Draw(t, "extra")
		if c == 0 && extra == " INVISIBLE" {
			extra = ""
		}
		columns, names, values = append(columns, column+" "+kind+extra), append(names, column), append(values, value)
	}
	switch rapid.IntRange(0, 3).Draw(t, "key") {
	case 0:
		columns = append([]string{"id INT AUTO_INCREMENT PRIMARY KEY"}, columns...)
	case 1:
		how := rapid.SampledFrom([]string{"VIRTUAL", "STORED"}).Draw(t, "how")
		if strings.Contains(columns[0], " CHAR(") {
			how = "VIRTUAL" // a session's mode decides what a CHAR is
		}
		columns = append(columns, "made INT AS (ISNULL("+names[0]+")) "+how)
	}
	engine := rapid.SampledFrom([]string{"InnoDB", "InnoDB", "InnoDB", "MyISAM", "Aria"}).Draw(t, "engine")
	statements = append(statements, "CREATE TABLE "+name+"("+strings.Join(columns, ", ")+") ENGINE="+engine)
	var rows []string
	for range rapid.IntRange(0, 12).Draw(t, "rows") {
		var row []string
		for _, value := range values {
			if rapid.IntRange(0, 5).Draw(t, "null") == 0 {
				row = append(row, "NULL")
			} else {
				row = append(row, value(t))
			}
		}
		rows = append(rows, "("+strings.Join(row, ",")+")")
	}
	if len(rows) > 0 {
		statements = append(statements, "INSERT IGNORE INTO "+name+"("+strings.Join(names, ",")+") VALUES"+strings.Join(rows, ","))
	}
	return statements
}

func TestMySQLRandomTablesComeBack(t *testing.T) {
	t.Parallel()
	old := flag.Lookup("rapid.checks").Value.String()
	if old == "100" { // each needs databases of its own
		flag.Set("rapid.checks", "25")
		defer flag.Set("rapid.checks", old)
	}
	h := serve(t)
	s, back, client := newShop(t), newShop(t), newShop(t)
	rapid.Check(t, func(rt *rapid.T) {
		for _, one := range []*shop{s, back, client} {
			do(t, one.DB, "DROP DATABASE IF EXISTS "+one.name, "CREATE DATABASE "+one.name+" CHARACTER SET utf8mb4", "USE "+one.name,
				"SET NAMES utf8mb4", "SET sql_mode='ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO', time_zone='+00:00'")
		}
		for i := range rapid.IntRange(1, 4).Draw(rt, "tables") {
			for _, statement := range randomTable(rt, i) {
				if _, err := s.Exec(statement); err != nil {
					rt.Fatalf("%s: %v", statement, err)
				}
			}
		}
		dir, _ := s.dumped(t, h, nil)
		back.restored(t, h, dir, nil)
		client.load(t, dir)
		want, wantDump := s.content(t), s.dump(t)
		for _, one := range []*shop{back, client} {
			if got := one.content(t); got != want {
				rt.Fatalf("want\n%s\ngot\n%s", want, got)
			}
			if got := one.dump(t); strings.ReplaceAll(got, one.name, s.name) != wantDump {
				rt.Fatalf("mariadb-dump: want\n%s\ngot\n%s", wantDump, got)
			}
		}
	})
}
