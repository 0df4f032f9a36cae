// Package mysql reads and writes MariaDB and MySQL databases for the dumptables
// plugin.
//
// These servers have no snapshot that another connection could join. So the
// snapshot is one or more connections, each in a transaction that was begun at
// the same moment (snapshot.go), and it is lost with any of them. A connection is
// therefore never given up lightly: a query that has to end early is killed on
// the server, and the connection, with its transaction, stays (conn.go).
//
// Values are read as the bytes that are stored, without conversion to another
// character set, and written so that the plain client loads the same bytes
// (value.go). Rows that are too large for one statement go through variables, a
// piece at a time (large.go). Definitions are those that the server shows, with
// the modes and character sets that they were made with (schema.go, programs.go).
//
// Passwords are in no error and no log line of this package.
package mysql
