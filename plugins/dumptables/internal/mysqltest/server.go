// Package mysqltest starts a MariaDB server of its own for the tests of a
// package. It knows nothing of a server that the system may run.
package mysqltest

import (
	"bytes"
	"context"
	"database/sql"
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

	driver "github.com/go-sql-driver/mysql"
)

// Server is one server on a socket. Its user root has no password.
type Server struct {
	Socket string

	dir   string
	cmd   *exec.Cmd
	ended chan error
}

// startTimeout is generous: the machine may be busy.
const startTimeout = 2 * time.Minute

// Start installs a server into a new directory and starts it. The caller stops
// it; should the caller die, the kernel kills it.
func Start() (*Server, error) {
	dir, err := os.MkdirTemp("", "mariadb")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, Socket: filepath.Join(dir, "s"), ended: make(chan error, 1)}
	if err := s.start(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("start a MariaDB server for tests (Debian: apt-get install mariadb-server): %w", err)
	}
	return s, nil
}

func (s *Server) start() error {
	own, err := user.Current()
	if err != nil {
		return err
	}
	name := own.Username
	if own.Uid == "0" { // the server refuses to run as root
		if name, err = s.giveAway(); err != nil {
			return err
		}
	}
	data := filepath.Join(s.dir, "data")
	install := exec.Command("mariadb-install-db", "--no-defaults", "--datadir="+data, "--user="+name,
		"--auth-root-authentication-method=normal", "--skip-test-db")
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb-install-db: %w: %s", err, bytes.TrimSpace(out))
	}
	path, err := exec.LookPath("mariadbd")
	if err != nil {
		path = "/usr/sbin/mariadbd" // not in everybody's PATH
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(path, "--no-defaults", "--user="+name, "--datadir="+data, "--socket="+s.Socket,
		"--pid-file="+filepath.Join(s.dir, "pid"), "--skip-networking", "--max-allowed-packet=256M",
		// Nothing has to survive a power cut.
		"--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-flush-method=nosync",
		"--innodb-log-file-size=256M", "--innodb-buffer-pool-size=128M", "--sync-binlog=0", "--skip-log-bin")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
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
func (s *Server) giveAway() (string, error) {
	owner, err := user.Lookup("mysql")
	if err != nil {
		return "", err
	}
	uid, err1 := strconv.Atoi(owner.Uid)
	gid, err2 := strconv.Atoi(owner.Gid)
	return owner.Username, errors.Join(err1, err2, os.Chown(s.dir, uid, gid))
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
const Holder = "github.com/stepd/stepd/plugins/dumptables/internal/mysqltest.(*Server).hold"

func (s *Server) ready() error {
	db := s.Open("")
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case ended := <-s.ended:
			s.ended <- ended
			return fmt.Errorf("mariadbd ended: %w", ended)
		case <-ctx.Done():
			return err
		}
	}
}

// Open opens a database, or none, as root. Statements may be several in one text.
func (s *Server) Open(database string) *sql.DB { return s.OpenAs("root", "", database) }

// OpenAs opens a database as another user.
func (s *Server) OpenAs(name, password, database string) *sql.DB {
	config := driver.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr, config.DBName = name, password, "unix", s.Socket, database
	config.MultiStatements, config.InterpolateParams = true, true
	config.MaxAllowedPacket = 0
	config.Logger = &driver.NopLogger{}
	connector, err := driver.NewConnector(config)
	if err != nil {
		panic(err) // the configuration is constant
	}
	return sql.OpenDB(connector)
}

func (s *Server) kill() {
	s.cmd.Process.Kill() //nolint:errcheck // it has ended, then
	<-s.ended
}

// Kill ends the server as a power cut would.
func (s *Server) Kill() {
	s.kill()
	os.RemoveAll(s.dir)
}

// Stop ends the server and removes its directory.
func (s *Server) Stop() error {
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		s.kill()
		err = errors.New("mariadbd did not end in time")
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
