// Package copyfiles copies a directory tree and goes on where it stopped.
//
// It walks the source in a fixed order (names sorted within each directory),
// writes each file under a temporary name and gives it its own name only when
// its content is durable. A position in that order, the counts so far and how
// far a large file has come are the whole checkpoint, so its size does not grow
// with the tree. What is known of hard links is a directory of the target.
//
// It must not leave its two roots (os.Root holds that), follow symbolic links,
// copy its own target into itself, open anything that is not a regular file or
// a directory, or call a copy complete that misses a file it should have read.
package copyfiles
