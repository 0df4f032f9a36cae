package mysql

import (
	"slices"
	"strings"
	"testing"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

func TestAddressesOfServers(t *testing.T) {
	for dsn, want := range map[string]string{
		"//u@h/d":                       "tcp h:3306 u d",
		"//u@h:3307/d":                  "tcp h:3307 u d",
		"//u@[::1]/d":                   "tcp [::1]:3306 u d",
		"//u@[::1]:99/d":                "tcp [::1]:99 u d",
		"//u@/d":                        "unix /run/mysqld/mysqld.sock u d",
		"//u@/d?socket=/tmp/s":          "unix /tmp/s u d",
		"//u@localhost/d?socket=/tmp/s": "unix /tmp/s u d",
		"//a%40b@h/x%20y%2Fz?tls=true":  "",
		"//a%40b@h/x%20y?tls=preferred": "tcp h:3306 a@b x y",
		"//u@h/d?socket=/tmp/s":         "",
		"//u@h/d?tls=maybe":             "",
		"//u@h/d/e":                     "",
		"//u@h/d#e":                     "",
		"//u:@h/d":                      "",
		"//h/d":                         "",
		"u@h/d":                         "",
		"//u@h":                         "",
	} {
		s, err := parse(dump.Location{Address: dsn, Password: sdk.NewSecret("geheim")})
		got := ""
		if err == nil {
			got = strings.Join([]string{s.config.Net, s.config.Addr, s.config.User, s.database}, " ")
		}
		if got != want {
			t.Errorf("%s: got %q (%v), want %q", dsn, got, err, want)
		}
		if err == nil && strings.Contains(s.place, "geheim") {
			t.Errorf("%s: the place holds the password", dsn)
		}
	}
}

func TestVersions(t *testing.T) {
	c := &conn{version: parseVersion("5.5.5-10.11.19-MariaDB-0+deb12u1")}
	if !slices.Equal(c.version, []int{10, 11, 19}) || !c.atLeast(10, 3) || !c.atLeast(10, 11, 19) || c.atLeast(10, 12) || c.atLeast(11) {
		t.Errorf("version %v", c.version)
	}
	if got := parseVersion("8.0.36"); !slices.Equal(got, []int{8, 0, 36}) {
		t.Errorf("version %v", got)
	}
}

func TestGrantsThatShowEverything(t *testing.T) {
	for _, c := range []struct {
		grant, right string
		want         bool
	}{
		{"GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION", "TRIGGER", true},
		{"GRANT SELECT, TRIGGER ON `my\\_shop`.* TO `u`@`%`", "TRIGGER", true},
		{"GRANT SELECT, TRIGGER ON `my_sho%`.* TO `u`@`%`", "TRIGGER", true},
		{"GRANT SELECT, TRIGGER ON `my\\_shops`.* TO `u`@`%`", "TRIGGER", false},
		{"GRANT SELECT, TRIGGER ON `my\\%shop`.* TO `u`@`%`", "TRIGGER", false},
		{"GRANT SELECT, TRIGGER ON `my_shop`.`t` TO `u`@`%`", "TRIGGER", false},
		{"GRANT SELECT, EVENT ON *.* TO `u`@`%`", "TRIGGER", false},
		{"GRANT USAGE ON *.* TO `TRIGGER`@`%` IDENTIFIED BY PASSWORD '*X'", "TRIGGER", false},
		{"GRANT `TRIGGER` TO `u`@`%`", "TRIGGER", false},
	} {
		if got := granted([]string{c.grant}, "my_shop", c.right); got != c.want {
			t.Errorf("%s: %v", c.grant, got)
		}
	}
}

func TestViewsComeAfterWhatTheyRead(t *testing.T) {
	got := inOrder("s", []string{"a", "b", "c", "loop1", "loop2"}, map[string]string{
		"a": "select 1 from `s`.`b` join `s`.`c`", "b": "select `s`.`c`.`x` from `s`.`c`", "c": "select '`x`.`a`'",
		"loop1": "`s`.`loop2`", "loop2": "`s`.`loop1`",
	})
	if want := []string{"c", "b", "a", "loop2", "loop1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOwnSequencesLoseTheirDatabase(t *testing.T) {
	text := "CREATE TABLE `t` (`a` int DEFAULT nextval(`shop`.`s`) COMMENT 'nextval(`shop`.`s`)', `b` int DEFAULT nextval(`other`.`s`), `c` int DEFAULT (lastval(`shop`.`s` )+1))"
	want := "CREATE TABLE `t` (`a` int DEFAULT nextval(`s`) COMMENT 'nextval(`shop`.`s`)', `b` int DEFAULT nextval(`other`.`s`), `c` int DEFAULT (lastval(`s` )+1))"
	if got := localSequences(text, "shop"); got != want {
		t.Errorf("got %s", got)
	}
}

func TestTriggersThatNameTheirDatabase(t *testing.T) {
	for text, want := range map[string]bool{
		"CREATE DEFINER=`a.b`@`c.d` TRIGGER tr BEFORE INSERT ON `t.x` FOR EACH ROW SET @x=1.5":      false,
		"CREATE DEFINER=`a`@`b` TRIGGER shop.tr BEFORE INSERT ON t FOR EACH ROW SET @x=1":           true,
		"CREATE TRIGGER tr BEFORE INSERT ON `shop` . /* c */ t\nFOR EACH ROW SET @x=1":              true,
		"CREATE OR REPLACE TRIGGER IF NOT EXISTS `trigger` AFTER UPDATE ON t FOR EACH ROW CALL a.b": false,
	} {
		head, err := triggerHead(text)
		if err != nil || strings.Contains(head, ".") != want {
			t.Errorf("%s: %q %v", text, head, err)
		}
	}
}
