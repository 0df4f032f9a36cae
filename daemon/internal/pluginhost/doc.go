// Package pluginhost finds, checks, launches, supervises and calls plugins.
//
// A plugin is somebody else's program. The one promise of this package is
// that nothing a plugin does harms the daemon or another plugin: every call
// has a deadline, every buffer a bound, every process an end, and every step
// that was in a plugin's hands gets exactly one outcome.
//
// The rooms within:
//
//	host.go, config.go   what the daemon sees
//	plugin.go            one executable: single start for many callers, backoff, circuit
//	checks.go            what must be true of a file before it is run
//	launch.go, runner.go, handshake.go   from a file to a connection, through go-plugin
//	child.go, sweep.go, cgroup.go        the operating system's side: groups, strays, the end
//	pump.go, limiter.go  what comes over stderr
//	process.go           a running plugin: health, idleness, who is in it, its end
//	call.go, report.go, plan.go          one attempt, message by message
//
// It must not know the engine, the store or the task file; it must not decide
// whether something is tried again; and it must not trust a value that a
// plugin sent before it was bounded and checked.
//
// From go-plugin it uses the handshake and the mutual TLS alone. Connection,
// standard streams, health, shutdown and kill are done here, because there
// they have no deadlines, parse what the plugin writes to stderr without care
// and start a broker that a plugin can flood.
package pluginhost
