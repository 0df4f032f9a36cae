// Package audit keeps the log of who changed and started what: JSON lines in
// files of a directory of the state directory, 0600, synced before the act is
// answered. A line is written when the act has ended, with its result; an act
// that is refused is in it too.
//
// Room for the lines of all acts that can be under way is held beforehand, so
// that an act of which no line could be kept is not begun.
//
// Files are numbered; lines go to the newest one, and a new one is begun when it
// has an eighth of the size that is kept. Whole files go, the oldest first. A
// line that a crash has cut off was never answered; it stays, and readers pass
// it over.
package audit
