// Package postgrestest starts a PostgreSQL server of its own for the tests of a
// package. It knows nothing of a server that the system may run.
package postgrestest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is one server on a socket. Its user postgres may connect without a
// password; all others need theirs.
type Server struct {
	Dir string // where the socket is
	Bin string // where the server's programs are

	cmd   *exec.Cmd
	ended chan error
	owner *syscall.Credential // nil: the own user
}

// startTimeout is generous: the machine may be busy.
const startTimeout = 2 * time.Minute

// Start makes a cluster in a new directory and starts it. The caller stops it;
// should the caller die, the kernel kills it.
func Start() (*Server, error) {
	dir, err := os.MkdirTemp("", "pg") // short: it is a socket's
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, ended: make(chan error, 1)}
	if err := s.start(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("start a PostgreSQL server for tests (Debian: apt-get install postgresql): %w", err)
	}
	return s, nil
}

// programs finds the newest server's.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	best, dir := 0, ""
	for _, path := range found {
		bin := filepath.Dir(path)
		if major, err := strconv.Atoi(filepath.Base(filepath.Dir(bin))); err == nil && major > best {
			best, dir = major, bin
		}
	}
	if dir != "" {
		return dir, nil
	}
	path, err := exec.LookPath("initdb")
	return filepath.Dir(path), err
}

func (s *Server) start() error {
	var err error
	if s.Bin, err = programs(); err != nil {
		return err
	}
	own, err := user.Current()
	if err != nil {
		return err
	}
	if own.Uid == "0" { // the server refuses to run as root
		if err := s.giveAway(); err != nil {
			return err
		}
	}
	data := filepath.Join(s.Dir, "data")
	install := exec.Command(filepath.Join(s.Bin, "initdb"), "--pgdata="+data, "--username=postgres", "--auth=trust",
		"--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
	install.Dir, install.SysProcAttr = s.Dir, &syscall.SysProcAttr{Credential: s.owner}
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	rules := "local all postgres trust\nlocal all all scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(rules), 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.Dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(filepath.Join(s.Bin, "postgres"), "-D", data, "-k", s.Dir, "-c", "listen_addresses=",
		// Nothing has to survive a power cut.
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
		"-c", "shared_buffers=64MB", "-c", "max_wal_size=512MB", "-c", "autovacuum=off", "-c", "wal_level=logical",
		"-c", "max_connections=60", "-c", "timezone=UTC")
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.Dir, log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.owner, Pdeathsig: syscall.SIGQUIT}
	started := make(chan error)
	go s.hold(started)
	if err := <-started; err != nil {
		return err
	}
	if err := s.ready(); err != nil {
		s.kill()
		said, _ := os.ReadFile(log.Name()) // for the message only
		return fmt.Errorf("%w\n%s", err, said)
	}
	return nil
}

// giveAway gives the directory to the user whom Debian's package makes.
func (s *Server) giveAway() error {
	owner, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, err1 := strconv.ParseUint(owner.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(owner.Gid, 10, 32)
	s.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return errors.Join(err1, err2, os.Chown(s.Dir, int(uid), int(gid)))
}

// hold starts the server and waits for its end, on one thread: the kernel takes
// the end of the thread that started a process for the end of its parent.
func (s *Server) hold(started chan<- error) {
	runtime.LockOSThread()
	err := s.cmd.Start()
	started <- err
	if err == nil {
		s.ended <- s.cmd.Wait()
	}
}

// Holder is the function in which a goroutine stays while the server runs, for
// goleak.
const Holder = "github.com/stepd/stepd/plugins/dumptables/internal/postgrestest.(*Server).hold"

func (s *Server) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := s.Connect(ctx, "postgres")
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-tick.C:
		case ended := <-s.ended:
			s.ended <- ended
			return fmt.Errorf("postgres ended: %w", ended)
		case <-ctx.Done():
			return err
		}
	}
}

// Connect connects to a database as postgres. Statements may be several in one
// text.
func (s *Server) Connect(ctx context.Context, database string) (*pgx.Conn, error) {
	return s.ConnectAs(ctx, "postgres", "", database)
}

// ConnectAs connects as another user.
func (s *Server) ConnectAs(ctx context.Context, name, password, database string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return nil, err
	}
	config.Host, config.Port, config.User, config.Password, config.Database = s.Dir, 5432, name, password, database
	config.Fallbacks = nil
	config.RuntimeParams = map[string]string{"client_encoding": "UTF8"}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	return pgx.ConnectConfig(ctx, config)
}

func (s *Server) kill() {
	syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) //nolint:errcheck // it has ended, then
	<-s.ended
}

// Kill ends the server as a power cut would.
func (s *Server) Kill() {
	s.kill()
	os.RemoveAll(s.Dir)
}

// Stop ends the server and removes its directory.
func (s *Server) Stop() error {
	err := s.cmd.Process.Signal(syscall.SIGINT) // does not wait for its clients
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		s.kill()
		err = errors.New("postgres did not end in time")
	}
	return errors.Join(err, os.RemoveAll(s.Dir))
}
