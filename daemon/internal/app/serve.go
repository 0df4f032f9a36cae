package app

import (
	"context"
	"os"
	"strings"

	"github.com/stepd/stepd/daemon/internal/config"
)

// Flags are the flags of the serve command; empty ones were not given.
type Flags struct {
	Config     string
	Data       string
	Socket     string
	PluginDirs []string
	LogLevel   string
	LogFormat  string
	Timezone   string
}

// Serve reads the configuration and carries the daemon out until ctx ends.
func Serve(ctx context.Context, version string, f Flags) error {
	path := f.Config
	if path == "" {
		path = config.Find(os.LookupEnv)
	}
	var flags []config.Flag
	for _, one := range []config.Flag{
		{Key: "data_dir", Value: f.Data}, {Key: "socket", Value: f.Socket},
		{Key: "log_level", Value: f.LogLevel}, {Key: "log_format", Value: f.LogFormat},
		{Key: "timezone", Value: f.Timezone},
		{Key: "plugin_dirs", Value: strings.Join(f.PluginDirs, string(os.PathListSeparator))},
	} {
		if one.Value != "" {
			flags = append(flags, one)
		}
	}
	c, err := config.Load(path, os.LookupEnv, flags...)
	if err != nil {
		return err
	}
	a, err := New(Options{Config: c, Version: version, Stderr: os.Stderr, PreflightCommand: SelfPreflight})
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
