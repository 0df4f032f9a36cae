// Package sqlite reads and writes SQLite databases for the dumptables plugin,
// with modernc.org/sqlite (no cgo).
//
// Values survive exactly: types as they are stored (not as columns declare
// them), every bit of REAL, bytes of BLOB and TEXT, valid or not. Implicit rowids
// are kept where SQL can see them, as other tables, views and full-text indexes
// may refer to them.
//
// The scripts load with the sqlite3 client of any version that knows the features
// which the schema uses. They rely on nothing but SQL: no client commands, no
// writable_schema.
package sqlite
