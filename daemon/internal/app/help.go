package app

import (
	"strings"

	"github.com/stepd/stepd/daemon/internal/config"
)

const helpWidth = 78

// SettingsHelp describes the configuration file and its environment, for people.
func SettingsHelp() string {
	var b strings.Builder
	b.WriteString("The configuration file is YAML: /etc/stepd/stepd.yaml for root, else\n" +
		"~/.config/stepd/stepd.yaml, unless --config names another. In the environment,\n" +
		"each of its settings is STEPD_ and the name in capitals, as STEPD_MAX_RUNS.\n")
	for _, s := range config.Settings() {
		b.WriteString("\n  " + s.Key + "\n")
		wrap(&b, "      ", s.Doc+" Default: "+strings.TrimSuffix(s.Default, ".")+".")
	}
	return strings.TrimRight(b.String(), "\n")
}

// wrap writes text in lines of at most helpWidth bytes.
func wrap(b *strings.Builder, indent, text string) {
	line := indent
	for word := range strings.FieldsSeq(text) {
		if line != indent && len(line)+1+len(word) > helpWidth {
			b.WriteString(line + "\n")
			line = indent
		}
		if line != indent {
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
}
