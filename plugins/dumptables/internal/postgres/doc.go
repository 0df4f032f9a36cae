// Package postgres reads and writes PostgreSQL databases for the dumptables
// plugin, through the server's own pg_dump and psql.
//
// A transaction of this package's exports its snapshot (snapshot.go); each pg_dump
// joins it, so that all of them see one moment, and it is lost with that
// transaction. What pg_dump writes passes through here on its way into the file
// (filter.go): rows are counted and summed up, and commands that only its own
// version of psql knows are taken out. What others do to the definition of a table
// meanwhile is noticed (catalog.go), because a snapshot does not cover it.
//
// Loading feeds the files to psql, each table in one transaction (load.go), and
// reads what came of it (verify.go). Passwords pass through the environment of the
// child alone and are in no error and no log line.
package postgres
