package main

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"
)

// Tables first, then rows, then what watches them: the triggers do not fire while
// the shop is filled.
var tables = []string{
	`PRAGMA user_version = 7`,
	`PRAGMA application_id = 1936224112`,
	`CREATE TABLE customers (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		email TEXT NOT NULL COLLATE NOCASE UNIQUE,
		first_name TEXT NOT NULL,
		last_name TEXT, -- NULL: not asked; '': asked and left empty
		name TEXT GENERATED ALWAYS AS (trim(first_name || ' ' || coalesce(last_name, ''))) VIRTUAL,
		born DATE,
		newsletter BOOLEAN NOT NULL DEFAULT 0,
		created_at TIMESTAMP NOT NULL)`,
	`CREATE TABLE products (
		id INTEGER PRIMARY KEY,
		sku TEXT NOT NULL UNIQUE,
		name TEXT NOT NULL,
		description TEXT,
		net REAL NOT NULL CHECK (net >= 0),
		tax REAL NOT NULL DEFAULT 0.19,
		gross REAL GENERATED ALWAYS AS (round(net * (1 + tax), 2)) STORED,
		weight REAL,
		stock INTEGER NOT NULL DEFAULT 0)`,
	`CREATE TABLE product_images (
		product_id INTEGER NOT NULL REFERENCES products(id) ON DELETE CASCADE,
		position INTEGER NOT NULL,
		mime TEXT NOT NULL,
		data BLOB NOT NULL,
		PRIMARY KEY (product_id, position)) WITHOUT ROWID`,
	`CREATE TABLE orders (
		id INTEGER PRIMARY KEY,
		customer_id INTEGER NOT NULL REFERENCES customers(id),
		status TEXT NOT NULL DEFAULT 'new' CHECK (status IN ('new', 'paid', 'sent', 'returned')),
		note TEXT,
		placed_at TIMESTAMP NOT NULL)`,
	`CREATE TABLE order_lines (
		order_id INTEGER NOT NULL REFERENCES orders(id) ON DELETE CASCADE,
		line INTEGER NOT NULL,
		product_id INTEGER NOT NULL REFERENCES products(id),
		quantity INTEGER NOT NULL,
		price REAL NOT NULL,
		total REAL AS (quantity * price) VIRTUAL,
		PRIMARY KEY (order_id, line))`,
	`CREATE TABLE settings (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID`,
	`CREATE TABLE stock_log (at TIMESTAMP, product_id INTEGER, change INTEGER)`,
	`CREATE TABLE "order" ("select" INTEGER PRIMARY KEY, "what is ""it""?" TEXT, "größe; --" NUMERIC)`,
	`CREATE TABLE "старые заказы/2019" (id INTEGER PRIMARY KEY, data BLOB)`,
	`CREATE TABLE empty_one (id INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT)`,
}

var watchers = []string{
	`CREATE INDEX orders_by_customer ON orders(customer_id, placed_at DESC)`,
	`CREATE INDEX unpaid ON orders(placed_at) WHERE status = 'new'`,
	`CREATE INDEX customers_by_name ON customers(lower(last_name), first_name COLLATE NOCASE)`,
	`CREATE INDEX lines_by_product ON order_lines(product_id)`,
	`CREATE VIEW best_sellers AS SELECT * FROM sales WHERE sold >= 10 ORDER BY sold DESC`, // before the view that it reads
	`CREATE VIEW sales AS SELECT p.id, p.name, sum(l.quantity) AS sold, sum(l.total) AS revenue
		FROM products AS p JOIN order_lines AS l ON l.product_id = p.id GROUP BY p.id`,
	`CREATE TRIGGER take_stock AFTER INSERT ON order_lines BEGIN
		UPDATE products SET stock = stock - new.quantity WHERE id = new.product_id;
		INSERT INTO stock_log VALUES (datetime('now'), new.product_id, -new.quantity);
	END`,
	`CREATE TRIGGER refuse_return BEFORE UPDATE OF status ON orders WHEN old.status = 'new' AND new.status = 'returned' BEGIN
		SELECT RAISE(ABORT, 'only what was sent can come back');
	END`,
	`CREATE VIRTUAL TABLE product_search USING fts5(name, description, content='products', content_rowid='id')`,
	`INSERT INTO product_search(product_search) VALUES ('rebuild')`,
	`ANALYZE`,
	`PRAGMA journal_mode = WAL`,
}

func makeDatabase(path string, n amounts, seed uint64) (err error) {
	db, err := sql.Open("sqlite", "file:"+strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)+"?_pragma=synchronous(0)&_pragma=journal_mode(MEMORY)")
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	defer func() {
		if closeErr := db.Close(); err == nil {
			err = closeErr
		}
	}()
	for _, statement := range tables {
		if _, err := db.Exec(statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	f := &filler{tx: tx, r: rand.New(rand.NewPCG(seed, 2)), statements: map[string]*sql.Stmt{}}
	f.fill(n)
	if f.err != nil {
		tx.Rollback()
		return f.err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	for _, statement := range watchers {
		if _, err := db.Exec(statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// filler inserts rows and remembers the first error.
type filler struct {
	tx         *sql.Tx
	r          *rand.Rand
	statements map[string]*sql.Stmt
	err        error
}

func (f *filler) insert(into string, values ...any) {
	if f.err != nil {
		return
	}
	statement := f.statements[into]
	if statement == nil {
		marks := strings.TrimSuffix(strings.Repeat("?,", len(values)), ",")
		if statement, f.err = f.tx.Prepare("INSERT INTO " + into + " VALUES (" + marks + ")"); f.err != nil {
			return
		}
		f.statements[into] = statement
	}
	if _, err := statement.Exec(values...); err != nil {
		f.err = fmt.Errorf("fill %s: %w", into, err)
	}
}

func (f *filler) fill(n amounts) {
	r := f.r
	for i := range n.customers {
		var last any = strings.ToUpper(word(r)[:1]) + word(r)
		switch i % 50 {
		case 7:
			last = nil
		case 8:
			last = ""
		case 9:
			last = "O'Brien; DROP TABLE customers; --"
		case 10:
			last = "Ünïcødé 🪑 名"
		}
		f.insert("customers(email, first_name, last_name, born, newsletter, created_at)",
			fmt.Sprintf("%s.%d@example.com", word(r), i), strings.ToUpper(word(r)[:1])+word(r), last,
			opened.AddDate(-20-r.IntN(50), 0, r.IntN(365)).Format(time.DateOnly), i%3 == 0, f.moment())
	}
	for i := range n.products {
		var description any = strings.Repeat(word(r)+" "+word(r)+".\n", 1+r.IntN(20))
		if i%40 == 0 {
			description = nil
		}
		// The product and not its parts: prices that no short decimal hits.
		f.insert("products(id, sku, name, description, net, weight, stock)", i+1, fmt.Sprintf("SKU-%05d", i),
			word(r)+" "+word(r), description, float64(r.IntN(100_000))/100*1.1, r.Float64()*math.Pow(10, float64(r.IntN(8)-4)), r.IntN(500))
		for position := range i % 3 {
			f.insert("product_images", i+1, position, "image/jpeg", noise(r, 500+r.IntN(6_000)))
		}
	}
	for i := range n.orders {
		var note any
		if i%20 == 0 {
			note = []string{"", "ring twice\nback door", "it's a gift; wrap it", "\x00binary\x00", "bad \xff\xfe bytes", "NULL"}[i/20%6]
		}
		f.insert("orders", i+1, 1+r.IntN(n.customers), []string{"new", "paid", "sent", "returned"}[r.IntN(4)], note, f.moment())
		for line := range 1 + r.IntN(4) {
			f.insert("order_lines(order_id, line, product_id, quantity, price)", i+1, line, 1+r.IntN(n.products), 1+r.IntN(9), float64(r.IntN(10_000))/100)
		}
	}
	for key, value := range []any{nil, "", []byte{}, int64(math.MaxInt64), int64(math.MinInt64), math.Inf(1), math.Inf(-1), 5e-324,
		math.MaxFloat64, math.Copysign(0, -1), "123", "1e5", []byte{0, 255, 39}, 0.1 + 0.2} {
		f.insert("settings", fmt.Sprintf("odd value %02d", key), value)
		f.insert(`"order"`, key*1000-5, fmt.Sprintf("line\n%d", key), value)
		f.insert(`"старые заказы/2019"`, key, value)
	}
	for i := range 100 {
		f.insert("stock_log", f.moment(), 1+r.IntN(n.products), i)
	}
}

func (f *filler) moment() string {
	return opened.Add(time.Duration(f.r.IntN(300*24*3600)) * time.Second).Format(time.DateTime)
}

var syllables = strings.Fields("ba be bi bo da de di do fa fe ka ke ki ko la le li lo ma me mi mo na ne ni no ra re ri ro sa se ta te ti to va ve wi zu")

func word(r *rand.Rand) string {
	var b strings.Builder
	for range 2 + r.IntN(3) {
		b.WriteString(syllables[r.IntN(len(syllables))])
	}
	return b.String()
}
