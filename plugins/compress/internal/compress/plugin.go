package compress

import (
	"github.com/stepd/stepd/sdk"
)

// Plugin is the plugin as it is served.
func Plugin() sdk.Plugin { return plugin(tuning{}) }

// tuning is where tests step in; its zero value changes nothing.
type tuning struct {
	ended     func()           // after an attempt
	afterRead func(rel string) // a file's bytes were read, nothing was compared yet
	// publishing comes before the first and second of the two names that an
	// archive and its manifest get.
	publishing func(n int)
}

func (t tuning) end() {
	if t.ended != nil {
		t.ended()
	}
}

func plugin(t tuning) sdk.Plugin {
	return sdk.Plugin{Name: "compress", Version: "1.0.0", Controllers: []sdk.Registration{
		sdk.Controller[CreateSettings]{
			Summary: "Make an archive of a directory, with a manifest.", Effect: sdk.Idempotent,
			Defaults: CreateSettings{Format: formatZstd, Level: "default"}, Run: t.create,
		},
		sdk.Controller[VerifySettings]{
			Name: "verify", Summary: "Read an archive and compare all that is in it with its manifests.",
			Effect: sdk.Idempotent, Defaults: VerifySettings{Pattern: defaultPattern}, Run: t.verify,
		},
		sdk.Controller[RestoreSettings]{
			Name: "restore", Summary: "Restore an archive into a directory.", Effect: sdk.Idempotent,
			Defaults: RestoreSettings{Pattern: defaultPattern, Include: []string{"**"}, MaxBytes: 1 << 40, MaxRatio: 10_000, UnsafeLinks: "refuse"},
			Run:      t.restore,
		},
	}}
}

const defaultPattern = "*.tar.{zst,gz,zst.age,gz.age}"
