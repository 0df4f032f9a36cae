// Package config is the daemon's own configuration: what each setting is
// called, what it is when nobody says so, and what values it may have.
//
// A flag wins over the environment, that over the file, that over the default.
// The package reads the one file, and what says in which time zone the machine
// is: it creates no directories, looks up no groups and starts nothing.
package config
