// Package dump holds the controllers of the dumptables plugin: it splits the
// dump of a database into steps, writes one file a step, keeps the manifest, and
// loads a dump back.
//
// A dump is a directory:
//
//	000-schema.sql      tables, empty (mode recreate)
//	001-customers.sql   rows of one table
//	...
//	012-finish.sql      sequences, indexes, views, triggers
//	dump.json           the manifest: what is in it, and whether it is complete
//
// A file under one of these names is always whole: it is written under a hidden
// name, synced and renamed, and compressed meanwhile where the settings ask for
// it. A large table may have several files, each with a part. The files load with the database's own client in
// the order of their names.
//
// What a database is, the package leaves to an Engine; it must not know SQL.
package dump
