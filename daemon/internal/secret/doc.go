// Package secret resolves what settings refer to as {"secret": NAME}, and keeps
// the values out of everything that is kept or shown.
//
// A value is looked for, at each start of a step and never before: in the file
// that the configuration names for it, in the credentials directory of systemd
// (CREDENTIALS_DIRECTORY), in the directories of the configuration. A file that
// others than its owner may read or write, or that belongs to neither root nor
// the daemon's user, is refused, and so is one in a directory that others may
// write to. One trailing line end is not part of the value, which is text in
// UTF-8 of 4 bytes to 64 KiB.
//
// Controllers get the values in their settings alone. Whatever comes back is
// searched for them: in logs, messages, errors, notes, counters' names, outputs
// and what a plugin writes to its standard streams they are replaced by
// "[secret NAME]"; planned steps whose settings hold a value as a whole get the
// reference back; a checkpoint, or a planned setting, with a value inside
// something longer is refused, because it cannot be replaced without breaking
// it. So is a session with a value, and the name of a planned step or an output.
// Values shorter than four bytes are refused: they would be found everywhere.
//
// A value is recognised as it is, and in the forms that programs give texts
// without meaning to hide them: each line of it, escaped as in JSON, Go, URLs,
// HTML, shells and SQL, in JSON and Go also twice, and each of these in base64
// wherever it begins, in hexadecimal, and as a list of bytes; also when only its
// beginning is left where a text was cut. Of a value above 4 KiB, only itself is
// looked for in the forms of bytes. What a controller does to it beyond that,
// such as taking it apart or compressing it, is not seen. The newest eight values
// of each secret are looked for, so that one which was changed stays hidden while
// a plugin still has it; a daemon that was started again knows those that it has
// handed out since.
package secret
