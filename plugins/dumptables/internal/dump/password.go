package dump

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/stepd/stepd/sdk"
)

// maxPassword bounds what is read: a file that is larger is something else.
const maxPassword = 4 << 10

// passwordOf is the password of the settings. No error repeats any of it.
func passwordOf(given sdk.Secret, file string, info sdk.Info) (sdk.Secret, error) {
	switch {
	case file == "":
		return given, nil
	case given.Reveal() != "":
		return given, sdk.Permanent(errors.New("settings password and password_file: give one of them"))
	}
	path := info.Path(file)
	stat, err := os.Stat(path)
	if err != nil {
		return given, sdk.Permanent(fmt.Errorf("setting password_file: %w", err))
	}
	if !stat.Mode().IsRegular() || stat.Size() > maxPassword {
		return given, sdk.Permanent(fmt.Errorf("setting password_file: %s is no file with a password alone", path))
	}
	if stat.Mode().Perm()&0o077 != 0 {
		return given, sdk.Permanent(fmt.Errorf("setting password_file: other users may read %s: chmod 600 it", path))
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return given, sdk.Permanent(fmt.Errorf("setting password_file: %w", err))
	}
	// An editor ends the line; a password has no line end.
	return sdk.NewSecret(strings.TrimRight(string(raw), "\r\n")), nil
}
