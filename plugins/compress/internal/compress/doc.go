// Package compress makes archives of a directory with a manifest of their
// content, verifies them and restores them.
//
// An archive is a PAX tar, compressed with zstd or gzip, that any tar program
// reads. Its entries come in one order (names sorted within each directory, a
// directory before what is in it), and the last entry, MANIFEST.json, lists
// them in that order. So all three controllers work in bounded memory, and an
// entry that is out of order, twice there or outside a listed directory is
// found as it comes.
//
// The package must not show a half-written archive or half-restored tree under
// its final name, overwrite an archive of another run, write through a symbolic
// link of an archive, or trust anything that an archive says before its hashes
// were compared.
package compress
