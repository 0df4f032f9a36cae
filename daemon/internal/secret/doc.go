// Package secret resolves what settings refer to as {"secret": NAME}, and keeps
// the values out of everything that is kept or shown.
//
// A value is looked for, at each start of a step and never before: in the file
// that the configuration names for it, in the credentials directory of systemd
// (CREDENTIALS_DIRECTORY), in the directories of the configuration. A file that
// others than its owner may read or write, or that belongs to neither root nor
// the daemon's user, is refused. One trailing line end is not part of the value.
//
// Controllers get the values in their settings alone. Whatever comes back is
// searched for them: in logs, messages, errors, notes, counters' names and outputs they are
// replaced by "[secret NAME]"; planned steps whose settings hold a value as a
// whole get the reference back; a checkpoint, or a planned setting, with a value
// inside something longer is refused, because it cannot be replaced without
// breaking it. Values shorter than four bytes are refused: they would be found everywhere.
package secret
