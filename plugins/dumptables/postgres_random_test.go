package main

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// randomPostgresColumn draws a type and how a value of it is written.
func randomPostgresColumn(t *rapid.T) (kind string, value func(*rapid.T) string) {
	text := func(t *rapid.T) string {
		return postgresText(rapid.StringOfN(rapid.OneOf(rapid.Rune(), rapid.RuneFrom([]rune("\\N.\t\n\r\v;'\"$-"))), 0, 30, -1).Draw(t, "text"))
	}
	whole := func(min, max int64) func(*rapid.T) string {
		return func(t *rapid.T) string { return fmt.Sprint(rapid.Int64Range(min, max).Draw(t, "number")) }
	}
	bits := func(t *rapid.T) string { return fmt.Sprintf("B'%b'", rapid.Uint32().Draw(t, "bits")) }
	moment := func(t *rapid.T) string {
		return fmt.Sprintf("timestamp '2000-01-01' + interval '1 microsecond' * %d", rapid.Int64Range(-6e16, 9e17).Draw(t, "moment"))
	}
	kinds := map[string]func(*rapid.T) string{
		"smallint": whole(-32768, 32767), "int": whole(-1<<31, 1<<31-1), "bigint": whole(-1<<63, 1<<63-1), "numeric": func(t *rapid.T) string {
			return fmt.Sprintf("%d.%de%d", rapid.Int64().Draw(t, "before"), rapid.Uint64().Draw(t, "behind"), rapid.IntRange(-200, 200).Draw(t, "power"))
		},
		"float8": func(t *rapid.T) string { return fmt.Sprintf("'%g'::float8", rapid.Float64().Draw(t, "real")) },
		"real":   func(t *rapid.T) string { return fmt.Sprintf("'%g'::real", rapid.Float32().Draw(t, "real")) },
		"money":  whole(-9e15, 9e15), "boolean": func(t *rapid.T) string { return fmt.Sprint(rapid.Bool().Draw(t, "boolean")) },
		"text": text, "varchar(40)": text, "char(40)": text, "text COLLATE \"C\"": text,
		"bytea": func(t *rapid.T) string {
			return fmt.Sprintf("'\\x%x'::bytea", rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes"))
		},
		"varbit": bits, "timestamp": moment, "timestamptz(3)": moment,
		"interval": func(t *rapid.T) string {
			return fmt.Sprintf("make_interval(months => %d, days => %d, secs => %g)", rapid.Int32Range(-1e6, 1e6).Draw(t, "months"), rapid.Int32Range(-1e6, 1e6).Draw(t, "days"), rapid.Float64Range(-1e6, 1e6).Draw(t, "seconds"))
		},
		"text[]":    func(t *rapid.T) string { return "ARRAY[" + text(t) + ",NULL," + text(t) + "]::text[]" },
		"jsonb":     func(t *rapid.T) string { return "to_jsonb(" + text(t) + "::text)" },
		"json":      func(t *rapid.T) string { return "json_build_object('a', " + text(t) + "::text)" },
		"int8range": func(t *rapid.T) string { return fmt.Sprintf("int8range(NULL, %d)", rapid.Int32().Draw(t, "end")) },
		"point": func(t *rapid.T) string {
			return fmt.Sprintf("point(%g,%g)", rapid.Float64Range(-1e9, 1e9).Draw(t, "x"), rapid.Float64Range(-1e9, 1e9).Draw(t, "y"))
		},
	}
	kind = rapid.SampledFrom(slices.Sorted(maps.Keys(kinds))).Draw(t, "type")
	return kind, kinds[kind]
}

func postgresText(text string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", "").Replace(text) + "'"
}

func randomPostgresName(t *rapid.T, i int) string {
	name := rapid.StringOfN(rapid.RuneFrom([]rune("aZ09_-` '\"\\;/.,()%é字\n#*@$^|[]{}?+")), 0, 12, -1).Draw(t, "name")
	return `"` + strings.ReplaceAll(fmt.Sprintf("%s%d", name, i), `"`, `""`) + `"`
}

// randomPostgresTable draws statements that make a table and fill it.
func randomPostgresTable(t *rapid.T, schema string, i int) string {
	name := schema + "." + randomPostgresName(t, i)
	var columns, names []string
	var values []func(*rapid.T) string
	for c := range rapid.IntRange(1, 6).Draw(t, "columns") {
		kind, value := randomPostgresColumn(t)
		column := randomPostgresName(t, c)
		columns, names, values = append(columns, column+" "+kind), append(names, column), append(values, value)
	}
	tail := ""
	switch rapid.IntRange(0, 5).Draw(t, "shape") {
	case 0:
		columns = append([]string{"id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY"}, columns...)
	case 1:
		columns = append(columns, "made boolean GENERATED ALWAYS AS ("+names[0]+" IS NULL) STORED")
	case 2:
		columns = append([]string{"id bigserial"}, columns...)
	case 3:
		columns = append([]string{"part int DEFAULT 1"}, columns...)
		tail = " PARTITION BY LIST (part); CREATE TABLE " + schema + "." + randomPostgresName(t, i+100) + " PARTITION OF " + name + " DEFAULT"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s(%s)%s;\n", name, strings.Join(columns, ", "), tail)
	for range rapid.IntRange(0, 10).Draw(t, "rows") {
		var row []string
		for _, value := range values {
			if rapid.IntRange(0, 5).Draw(t, "null") == 0 {
				row = append(row, "NULL")
			} else {
				row = append(row, value(t))
			}
		}
		fmt.Fprintf(&b, "INSERT INTO %s(%s) VALUES(%s);\n", name, strings.Join(names, ","), strings.Join(row, ","))
	}
	if rapid.Bool().Draw(t, "comment") {
		fmt.Fprintf(&b, "COMMENT ON TABLE %s IS %s;\n", name, postgresText(rapid.String().Draw(t, "comment")))
	}
	if rapid.Bool().Draw(t, "view") {
		fmt.Fprintf(&b, "CREATE VIEW %s.%s AS SELECT * FROM %s;\n", schema, randomPostgresName(t, i+200), name)
	}
	return b.String()
}

func TestPostgresRandomTablesComeBack(t *testing.T) {
	old := flag.Lookup("rapid.checks").Value.String()
	checks := old
	if old == "100" { // each needs databases of its own
		checks = "5"
	}
	h := serve(t)
	s, back, client := newStore(t), newStore(t), newStore(t)
	flag.Set("rapid.checks", checks)
	defer flag.Set("rapid.checks", old)
	rapid.Check(t, func(rt *rapid.T) {
		for _, one := range []*store{s, back, client} {
			one.admin(t, "DROP DATABASE IF EXISTS "+one.name, "CREATE DATABASE "+one.name+" TEMPLATE template0")
		}
		other := randomPostgresName(rt, 0)
		text := "SET lc_monetary='C'; SET extra_float_digits=3; CREATE SCHEMA " + other + ";\n"
		for i := range rapid.IntRange(1, 3).Draw(rt, "tables") {
			text += randomPostgresTable(rt, rapid.SampledFrom([]string{"public", other}).Draw(rt, "schema"), i)
		}
		conn := s.connect(t, s.name)
		_, err := conn.PgConn().Exec(t.Context(), text).ReadAll()
		conn.Close(t.Context())
		if err != nil {
			rt.Fatalf("%s: %v", text, err)
		}
		dir, _ := s.dumped(t, h, settings{"compress": rapid.SampledFrom([]string{"none", "gzip", "zstd"}).Draw(rt, "compress")})
		back.restored(t, h, dir, nil)
		client.load(t, dir)
		want := s.content(t)
		for _, one := range []*store{back, client} {
			if got := one.content(t); got != want {
				rt.Fatalf("%s\nwant\n%s\ngot\n%s", text, want, got)
			}
		}
	})
}
