package pluginhost

import (
	"maps"
	"slices"

	"github.com/stepd/stepd/daemon/internal/task"
)

// State is where a plugin stands.
type State string

const (
	StateKnown   State = "known"   // found, not running
	StateRunning State = "running" // a process is up
	StateRefused State = "refused" // unsafe or not startable, see Error
	StateBroken  State = "broken"  // died too often, left alone for a while
)

// PluginInfo is what Plugins tells about one plugin.
type PluginInfo struct {
	Name        string                `json:"name"`
	Path        string                `json:"path"`
	State       State                 `json:"state"`
	Error       string                `json:"error,omitempty"`
	Version     string                `json:"version,omitempty"` // once it was asked
	Controllers []task.ControllerInfo `json:"controllers,omitempty"`
	PID         int                   `json:"pid,omitempty"`
	Steps       int                   `json:"steps"`               // in it now
	Restarts    int                   `json:"restarts"`            // starts after the first one
	LastExit    string                `json:"last_exit,omitempty"` // "exit status 1", "signal: killed"
}

// Plugins lists all that are known, by name. It starts nothing; it looks at
// the files of those that are not running.
func (h *Host) Plugins() []PluginInfo {
	h.mu.Lock()
	plugins := maps.Clone(h.plugins)
	h.mu.Unlock()
	list := make([]PluginInfo, 0, len(plugins))
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		list = append(list, plugins[name].snapshot())
	}
	return list
}

func (pl *plugin) snapshot() PluginInfo {
	checkErr := pl.check()
	pl.mu.Lock()
	defer pl.mu.Unlock()
	info := PluginInfo{Name: pl.name, Path: pl.path, State: StateKnown,
		Restarts: max(0, pl.starts-1), LastExit: pl.lastExit}
	if pl.desc != nil {
		info.Version = pl.desc.version
		for _, c := range pl.desc.controllers {
			info.Controllers = append(info.Controllers, c.info)
		}
	}
	trouble := pl.trouble
	if checkErr != nil {
		trouble = checkErr
	}
	_, open := pl.breaker.open(pl.host.cfg.Now())
	switch {
	case pl.proc != nil:
		info.State = StateRunning
		info.PID = pl.proc.child.pid
		pl.proc.mu.Lock()
		info.Steps = len(pl.proc.calls)
		pl.proc.mu.Unlock()
	case open:
		info.State = StateBroken
	case checkErr != nil || trouble != nil && (pl.starts == 0 || !countsAsDeath(trouble)):
		info.State = StateRefused
	}
	if trouble != nil && info.State != StateRunning {
		info.Error = trouble.Error()
	}
	return info
}

// check looks at the file as it is now, without its checksum.
func (pl *plugin) check() error {
	file, err := checkExecutable(pl.name, pl.file(), "")
	if err != nil {
		return err
	}
	file.close()
	return nil
}
