package main

import (
	"strings"
	"testing"
)

// nastyMySQL is a schema with everything that has gone wrong in dumps before.
var nastyMySQL = []string{
	"CREATE SEQUENCE numbers START WITH 5 INCREMENT BY 3 CACHE 10",
	"CREATE SEQUENCE `used up` START WITH 5 INCREMENT BY 3 MAXVALUE 8 CACHE 10; DO NEXTVAL(`used up`); DO NEXTVAL(`used up`)",
	"CREATE SEQUENCE round START WITH 1 MAXVALUE 2 NOCACHE CYCLE; DO NEXTVAL(round); DO NEXTVAL(round); DO NEXTVAL(round)",
	"CREATE TABLE takes_numbers(id BIGINT DEFAULT NEXTVAL(numbers) PRIMARY KEY, v INT); INSERT INTO takes_numbers(v) VALUES(1),(2)",
	"CREATE TABLE customers(id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, name VARCHAR(80) NOT NULL DEFAULT '', note TEXT, at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), KEY(name(10))) AUTO_INCREMENT=1000 COMMENT='it''s \\\\ a\\nlong; comment'",
	"INSERT INTO customers(id,name,note) VALUES(1,'O''Brien','line\\none\\r\\n\\\\n \\0 \\Z \\t \"; -- x'),(2,'',NULL),(3,'Zoë 🦊','')",
	"SET sql_mode='NO_AUTO_VALUE_ON_ZERO'; INSERT INTO customers(id,name) VALUES(0,'zero'),(4294967290,'last'); DELETE FROM customers WHERE id>1000",
	"CREATE TABLE orders(id INT PRIMARY KEY, customer INT UNSIGNED NOT NULL, net DECIMAL(65,30), gross DOUBLE AS (net*1.19) STORED, label VARCHAR(40) AS (CONCAT('order ',id)) VIRTUAL INVISIBLE, secret INT INVISIBLE DEFAULT 7, CHECK(net >= 0), KEY(label), CONSTRAINT `fk;odd` FOREIGN KEY(customer) REFERENCES customers(id) ON DELETE CASCADE)",
	"INSERT INTO orders(id,customer,net,secret) VALUES(1,1,19.99,1),(2,2,0.1,2); SET check_constraint_checks=0, foreign_key_checks=0; INSERT INTO orders(id,customer,net) VALUES(3,77,-5); SET check_constraint_checks=1, foreign_key_checks=1",
	"CREATE TABLE self(id INT PRIMARY KEY, up INT, FOREIGN KEY(up) REFERENCES self(id)); SET foreign_key_checks=0; INSERT INTO self VALUES(1,2),(2,1); SET foreign_key_checks=1",
	"CREATE TABLE keyless(a INT, b VARCHAR(10)); INSERT INTO keyless VALUES(1,'x'),(1,'x'),(NULL,NULL)",
	"CREATE TABLE parts(id INT, at DATE, PRIMARY KEY(id,at)) PARTITION BY RANGE(YEAR(at)) SUBPARTITION BY HASH(id) SUBPARTITIONS 2 (PARTITION old VALUES LESS THAN (2000), PARTITION now VALUES LESS THAN MAXVALUE); INSERT INTO parts VALUES(1,'1999-01-01'),(2,'2020-01-01'),(3,'0000-00-00')",
	"CREATE TABLE hist(a INT PRIMARY KEY, b INT) WITH SYSTEM VERSIONING; INSERT INTO hist VALUES(1,1); UPDATE hist SET b=2; DELETE FROM hist; INSERT INTO hist VALUES(1,3)",
	"CREATE TABLE hist2(a INT, rs TIMESTAMP(6) AS ROW START, re TIMESTAMP(6) AS ROW END, PERIOD FOR SYSTEM_TIME(rs,re)) WITH SYSTEM VERSIONING; INSERT INTO hist2(a) VALUES(1); UPDATE hist2 SET a=2",
	"CREATE TABLE rooms(id INT, s DATE, e DATE, PERIOD FOR p(s,e), UNIQUE(id, p WITHOUT OVERLAPS)); INSERT INTO rooms VALUES(1,'2020-01-01','2020-02-01')",
	"CREATE TABLE `select`(`from` INT, `a b` TEXT, `q``q` TEXT, `new\nline` TEXT, `semi;` TEXT, `Überschrift` TEXT, `'` INT, `a\\\\b` INT, `--` INT); INSERT INTO `select` VALUES(1,'2','3','4','5','6',7,8,9)",
	"CREATE TABLE `a/b; DROP TABLE x --`(v INT); INSERT INTO `a/b; DROP TABLE x --` VALUES(1)",
	"CREATE TABLE `таблица`(v INT); CREATE TABLE `_finish`(v INT); CREATE TABLE `_views`(v INT); CREATE TABLE `Case`(v INT); CREATE TABLE `case`(v INT); INSERT INTO `Case` VALUES(1); INSERT INTO `case` VALUES(2); CREATE TABLE `...`(v INT); CREATE TABLE `" + strings.Repeat("long", 16) + "`(v INT)",
	"CREATE TABLE isam(a INT PRIMARY KEY, b BLOB) ENGINE=MyISAM; INSERT INTO isam VALUES(1,x'00ff')",
	"CREATE TABLE aria(a INT PRIMARY KEY, b TEXT, FULLTEXT(b)) ENGINE=Aria; INSERT INTO aria VALUES(1,'words')",
	"CREATE TABLE csv(a INT NOT NULL, b TEXT NOT NULL) ENGINE=CSV; INSERT INTO csv VALUES(1,'a,\"b\"\\n')",
	"CREATE TABLE dyn(a INT PRIMARY KEY, b BLOB); INSERT INTO dyn VALUES(1,COLUMN_CREATE('x',1))",
	"CREATE TABLE words(w VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY) DEFAULT CHARSET=latin1; INSERT INTO words VALUES('a'),('A'),('ä'),(' ')",
	"CREATE TABLE audit(id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(200))",
	"CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN n*2",
	"CREATE FUNCTION reads_view() RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM z_first)",
	"CREATE VIEW a_last AS SELECT 1 AS n",
	"CREATE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW z_first AS SELECT name, id AS n FROM customers",
	"CREATE OR REPLACE VIEW m_middle AS SELECT * FROM z_first WHERE n > 0; CREATE OR REPLACE VIEW a_last AS SELECT name, n AS `x;``y` FROM m_middle WHERE name <> 'a;''b' WITH CASCADED CHECK OPTION",
	"CREATE VIEW calls AS SELECT reads_view() AS n, twice(4) AS eight, '🦊é' AS fox",
	"CREATE PROCEDURE fill(IN n INT) COMMENT 'fills; all' BEGIN /* a; comment */ DECLARE s VARCHAR(10) DEFAULT '$$ ;; '; IF n > 0 THEN INSERT INTO audit(what) VALUES('it''s \\\\ ;;'); END IF; END",
	"SET sql_mode='ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'; CREATE PROCEDURE \"odd;name\"() BEGIN SELECT \"name\" || '\\' FROM customers; -- ends '\nEND",
	"SET sql_mode='ORACLE'; CREATE PACKAGE pack AS FUNCTION f RETURN INT; END; CREATE PACKAGE BODY pack AS FUNCTION f RETURN INT AS BEGIN RETURN 1; END; END",
	"SET sql_mode=''; CREATE TRIGGER first_one AFTER INSERT ON customers FOR EACH ROW INSERT INTO audit(what) VALUES(CONCAT('new; ', NEW.name))",
	"CREATE TRIGGER `a second`\n  AFTER INSERT ON customers FOR EACH ROW FOLLOWS first_one\nBEGIN\n  SET @x = 1; -- why;\nEND",
	"CREATE TRIGGER refuse BEFORE INSERT ON orders FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT='no'",
	"SET time_zone='+05:00'; CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 02:30:00' DISABLE COMMENT 'x;y' DO BEGIN DELETE FROM audit; END; SET time_zone=DEFAULT",
	"SET NAMES latin1 COLLATE latin1_german1_ci; CREATE PROCEDURE latin() SELECT 'plain'; SET NAMES utf8mb4",
}

func TestMySQLRoundTripKeepsEverything(t *testing.T) {
	s := newShop(t, nastyMySQL...)
	h := serve(t)
	for _, connections := range []int{1, 2} {
		s.comesBack(t, h, settings{"connections": connections})
	}
}

func TestMySQLPlanIsInTheOrderOfLoading(t *testing.T) {
	s := newShop(t, nastyMySQL...)
	h := serve(t)
	_, results := s.dumped(t, h, nil)
	for _, name := range []string{"_schema", "customers", "numbers", "таблица", "Case", "case-2", "_routines", "_views", "_triggers", "_finish"} {
		if _, ok := results[name]; !ok {
			t.Errorf("there is no step %q", name)
		}
	}
	if got := results["_finish"].Message; !strings.Contains(got, "not in the snapshot: aria, csv, isam (3 tables without transactions)") {
		t.Errorf("it says %q", got)
	}
}

// A definition that names its database goes where it is loaded.
func TestMySQLQualifiedTriggerComesAlong(t *testing.T) {
	s := newShop(t, "CREATE TABLE t(x INT)")
	do(t, s.DB, "CREATE TRIGGER "+s.name+".`tr 1` BEFORE INSERT ON "+s.name+".t FOR EACH ROW SET NEW.x = NEW.x + 1")
	h := serve(t)
	dir, _ := s.dumped(t, h, nil)
	for _, way := range []string{"restored", "by the client"} {
		back := newShop(t)
		if way == "restored" {
			back.restored(t, h, dir, nil)
		} else {
			back.load(t, dir)
		}
		if got := back.client(t, "INSERT INTO t VALUES(1); SELECT x FROM t", "-N"); got != "2\n" {
			t.Errorf("%s: the trigger made %q", way, got)
		}
	}
}
