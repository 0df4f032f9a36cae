package mysql

import (
	"bufio"
	"io"
	"strings"
)

// Modes under which files load. ALLOW_INVALID_DATES lets in what others have let
// in; a strict mode refuses what would be cut to fit.
const (
	looseMode  = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES"
	strictMode = looseMode + ",STRICT_ALL_TABLES"
)

// script writes one file of a dump.
type script struct {
	w    *bufio.Writer
	mode string
}

func newScript(w io.Writer) *script { return &script{w: bufio.NewWriterSize(w, 64<<10)} }

// text writes; errors stick to the buffer and show at end.
func (s *script) text(parts ...string) {
	for _, part := range parts {
		s.w.WriteString(part)
	}
}

// begin sets what the file relies on, whatever the client or the server have as
// their defaults. UNIQUE_CHECKS stays on: off, MariaDB sorts all rows of a table
// before it inserts them, which took up to twice the time. What only MariaDB knows
// is in a comment that other servers take for one; by itself it would be an empty
// statement, which they refuse.
func (s *script) begin(title, mode string) {
	oneLine := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, title)
	s.mode = mode
	s.text("-- ", oneLine, "\n",
		"SET NAMES utf8mb4;\n",
		"SET TIME_ZONE='+00:00', FOREIGN_KEY_CHECKS=0, SQL_NOTES=0, SQL_MODE='", mode, "' /*M!100201 , CHECK_CONSTRAINT_CHECKS=0 */;\n")
}

func (s *script) end() error {
	s.text("SET TIME_ZONE=DEFAULT, FOREIGN_KEY_CHECKS=1, SQL_NOTES=1, SQL_MODE=DEFAULT /*M!100201 , CHECK_CONSTRAINT_CHECKS=1 */;\n")
	return s.w.Flush()
}

// delimited writes a statement that may hold semicolons. The delimiter stands in
// a line of its own, as the statement may end in a comment.
func (s *script) delimited(statement string) {
	mark := delimiter(statement)
	s.text("DELIMITER ", mark, "\n", statement, "\n", mark, "\nDELIMITER ;\n")
}
