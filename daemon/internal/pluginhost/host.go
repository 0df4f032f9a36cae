package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stepd/stepd/daemon/internal/task"
)

// Host keeps plugins and hands work to them. It satisfies the engine's port
// for controllers. All methods may be called from several goroutines.
type Host struct {
	cfg     Config
	cgroups string // parent of the plugins' groups, or empty
	seq     atomic.Uint64

	life  context.Context // done: nothing starts any more
	stop  context.CancelFunc
	hurry chan struct{} // closed: no time for good-byes
	wg    sync.WaitGroup

	scanning sync.Mutex // held throughout a scan: an older look must not undo a newer one

	mu      sync.Mutex
	plugins map[string]*plugin

	gate    sync.Mutex // the innermost lock
	procs   map[*process]struct{}
	closed  bool
	hurried bool
}

// New prepares the run directory and looks for plugins; it starts none. What
// it finds wrong with plugins and their directories it logs as warnings.
func New(cfg Config) (*Host, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configure the plugin host: %w", err)
	}
	if err := prepareRunDir(cfg.RunDir); err != nil {
		return nil, fmt.Errorf("prepare the plugins' run directory: %w", err)
	}
	h := &Host{cfg: cfg, cgroups: cfg.CgroupDir, hurry: make(chan struct{}),
		plugins: map[string]*plugin{}, procs: map[*process]struct{}{}}
	if h.cgroups == "" {
		h.cgroups = delegatedCgroup()
	}
	h.life, h.stop = context.WithCancel(context.Background())
	for _, err := range h.Scan() {
		cfg.Logger.Warn("plugins", "problem", err)
	}
	return h, nil
}

// prepareRunDir makes the directory and removes what an earlier daemon left.
func prepareRunDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if ownerOf(info) != uint32(os.Geteuid()) {
		return fmt.Errorf("%s belongs to user %d, not to the daemon's: remove it", dir, ownerOf(info))
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "p-") || strings.HasPrefix(entry.Name(), "plugin-dir") {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, entry.Name())))
		}
	}
	return errors.Join(errs...)
}

// Close ends all plugins and waits until they are gone: first politely; when
// ctx is done, with SIGKILL. Steps that are still in a plugin end as lost.
// What it returns says that it had to be hard.
func (h *Host) Close(ctx context.Context) error {
	h.gate.Lock()
	h.closed = true
	procs := slices.Collect(maps.Keys(h.procs))
	h.gate.Unlock()
	h.stop()
	for _, p := range procs {
		p.end(ending{why: "was ended because the daemon is stopping"})
	}
	ended := make(chan struct{})
	go func() {
		h.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	h.gate.Lock()
	if !h.hurried {
		h.hurried = true
		close(h.hurry)
	}
	h.gate.Unlock()
	<-ended
	return fmt.Errorf("plugins had to be killed: %w", ctx.Err())
}

// spawn runs f in a goroutine that Close waits for, unless it is too late.
func (h *Host) spawn(f func()) bool {
	h.gate.Lock()
	defer h.gate.Unlock()
	if h.closed {
		return false
	}
	h.wg.Go(f)
	return true
}

// own supervises a process until it is gone. It is called within spawn.
func (h *Host) own(p *process) {
	h.gate.Lock()
	h.procs[p] = struct{}{}
	closed := h.closed
	h.gate.Unlock()
	h.wg.Go(func() {
		p.run()
		h.gate.Lock()
		delete(h.procs, p)
		h.gate.Unlock()
	})
	if closed {
		p.end(ending{why: "was ended because the daemon is stopping"})
	}
}

func (h *Host) sequence() string { return strconv.FormatUint(h.seq.Add(1), 36) }

// Scan looks through the directories anew and returns what is wrong with them
// and with the plugins in them. Nothing that is wrong with one plugin keeps
// the others from being used. It starts nothing and reads no whole file.
func (h *Host) Scan() []error {
	h.scanning.Lock()
	defer h.scanning.Unlock()
	found := map[string]string{}
	var problems []error
	for _, dir := range h.cfg.Dirs {
		entries, err := os.ReadDir(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, fmt.Errorf("plugin directory %s does not exist", dir))
			continue
		case err != nil:
			problems = append(problems, fmt.Errorf("read plugin directory %s: %w", dir, err))
			continue
		case len(entries) == 0:
			problems = append(problems, fmt.Errorf("plugin directory %s is empty", dir))
		}
		for _, entry := range entries {
			path := filepath.Join(dir, entry.Name())
			if !mayBePlugin(path) {
				continue
			}
			name := strings.TrimPrefix(entry.Name(), "stepd-plugin-")
			if err := task.CheckName(name); err != nil {
				problems = append(problems, refuse(name, ErrName, "%s: %v; rename it", path, err))
			} else if found[name] == "" {
				found[name] = path
			}
		}
	}
	h.mu.Lock()
	for name, path := range found {
		pl := h.plugins[name]
		if pl == nil {
			pl = &plugin{host: h, name: name, log: h.cfg.Logger.Named(name), breaker: breaker{limit: h.cfg.BreakerDeaths,
				window: h.cfg.BreakerWindow, pause: h.cfg.BreakerPause, base: h.cfg.Backoff, max: h.cfg.MaxBackoff}}
			h.plugins[name] = pl
		}
		pl.mu.Lock()
		pl.path = path
		pl.mu.Unlock()
	}
	for name, pl := range h.plugins {
		pl.mu.Lock()
		if found[name] == "" && pl.proc == nil && pl.flight == nil {
			delete(h.plugins, name)
		}
		pl.mu.Unlock()
	}
	h.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(found)) {
		file, err := checkExecutable(name, found[name], "")
		if err != nil {
			problems = append(problems, err)
			continue
		}
		file.close()
	}
	return problems
}

// mayBePlugin leaves out what people keep beside plugins: directories, hidden
// files, and documents, which are told by having an extension and no right to
// be executed.
func mayBePlugin(path string) bool {
	base := filepath.Base(path)
	info, err := os.Stat(path)
	if strings.HasPrefix(base, ".") || err != nil || info.IsDir() {
		return false
	}
	return info.Mode().Perm()&0o111 != 0 || filepath.Ext(base) == ""
}

// resolve splits a controller's full name and finds its plugin, looking again
// when it is not known.
func (h *Host) resolve(name string) (pl *plugin, controller string, err error) {
	name, controller, slash := strings.Cut(name, "/")
	if slash && controller == "" {
		return nil, "", refuse(name, ErrNoController, "the name of the controller is missing after the slash")
	}
	for range 2 {
		h.mu.Lock()
		pl = h.plugins[name]
		h.mu.Unlock()
		if pl != nil {
			return pl, controller, nil
		}
		h.Scan()
	}
	where := strings.Join(h.cfg.Dirs, ", ")
	if where == "" {
		where = "no directory, for none is configured"
	}
	return nil, "", refuse(name, ErrNotFound, "there is no such plugin; looked in %s%s", where, h.known())
}

// known names the plugins that there are, for who has mistyped one.
func (h *Host) known() string {
	h.mu.Lock()
	names := slices.Sorted(maps.Keys(h.plugins))
	h.mu.Unlock()
	const most = 12
	switch {
	case len(names) == 0:
		return ", where there is none"
	case len(names) > most:
		return ", where there are " + strings.Join(names[:most], ", ") + " and more"
	}
	return ", where there is " + strings.Join(names, ", ")
}

// Lookup says what is known of a controller. It starts the plugin when it has
// to ask, which takes at most the start and call timeouts.
func (h *Host) Lookup(ctx context.Context, name string) (task.ControllerInfo, error) {
	pl, controller, err := h.resolve(name)
	if err != nil {
		return task.ControllerInfo{}, err
	}
	info, err := pl.lookup(ctx, controller)
	if errors.Is(err, ErrNotFound) {
		// The file is gone; maybe another directory has one of that name.
		h.Scan()
		if again, _, err := h.resolve(name); err == nil {
			return again.lookup(ctx, controller)
		}
	}
	return info, err
}

// EndRun tells the processes that served the run that it has ended. It
// returns at once; Close waits for it.
func (h *Host) EndRun(id task.RunID) {
	h.gate.Lock()
	procs := slices.Collect(maps.Keys(h.procs))
	h.gate.Unlock()
	for _, p := range procs {
		p.pl.endRun(p, id)
	}
}
