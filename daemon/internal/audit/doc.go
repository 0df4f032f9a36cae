// Package audit keeps the log of who changed and started what: JSON lines in one
// file of the state directory, 0600, synced before the act is answered, rotated
// by size. A line is written when the act has ended, with its result; an act
// that is refused is in it too. When a line cannot be written the act is refused
// beforehand, unless the disk is full: then cancelling is still possible.
package audit
