package postgres

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

const (
	dialSeconds      = 10
	defaultPort      = 5432
	defaultDirectory = "/run/postgresql"
	// noFile is the password file: whatever the daemon's user has in its home does
	// not count.
	noFile = "/nonexistent/stepd"
)

// server is where a database is and who asks.
type server struct {
	host     string // or the directory of the socket
	port     int
	user     string
	database string
	password sdk.Secret
	tls      string // libpq's sslmode, "" for its default
	root     string // sslrootcert
	programs string // directory of pg_dump and psql, "" where it is to be found
	place    string // for people: "shop at db.example:5432"
}

const dsnForm = "write postgres://USER@HOST:PORT/DATABASE, or postgres://USER@/DATABASE?host=DIRECTORY for a socket"

// parse reads the DSN's part behind the scheme. Its errors repeat nothing of it
// but names of parameters: a password may stand anywhere in what is not well
// formed.
func parse(at dump.Location) (*server, error) {
	refuse := func(why string) (*server, error) {
		return nil, sdk.Permanent(errors.New("setting dsn: " + why))
	}
	const holdsPassword = "it holds a password, which everybody who may see the task would see: take it out and use password_file or password"
	if !strings.HasPrefix(at.Address, "//") {
		return refuse("it is not the address of a server: " + dsnForm)
	}
	u, err := url.Parse("postgres:" + at.Address)
	if err != nil {
		return refuse("it cannot be read as an address: " + dsnForm)
	}
	if _, given := u.User.Password(); given {
		return refuse(holdsPassword)
	}
	s := &server{user: u.User.Username(), database: strings.TrimPrefix(u.Path, "/"), password: at.Password, programs: at.Programs,
		host: u.Hostname(), port: defaultPort}
	switch {
	case s.user == "":
		return refuse("the user is missing: " + dsnForm)
	case s.database == "":
		return refuse("the database is missing: " + dsnForm)
	case u.Fragment != "":
		return refuse("there is something behind the database: " + dsnForm)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return refuse("its parameters cannot be read: " + dsnForm)
	}
	port := u.Port()
	for name := range query {
		value := query.Get(name)
		switch name {
		case "host":
			if s.host != "" {
				return refuse("it has two hosts: leave one out")
			}
			s.host = value
		case "port":
			if port != "" {
				return refuse("it has two ports: leave one out")
			}
			port = value
		case "sslmode":
			s.tls = value
		case "sslrootcert":
			s.root = value
		case "password", "passwd", "pass", "pwd", "sslpassword":
			return refuse(holdsPassword)
		default:
			return refuse(fmt.Sprintf("it has a parameter %q; known are host, port, sslmode and sslrootcert", name))
		}
	}
	if port != "" {
		if s.port, err = strconv.Atoi(port); err != nil || s.port < 1 || s.port > 65535 {
			return refuse("the port is no number from 1 to 65535")
		}
	}
	switch s.tls {
	case "", "disable", "allow", "prefer", "require", "verify-ca", "verify-full":
	default:
		return refuse("the parameter sslmode is one of disable, allow, prefer, require, verify-ca and verify-full")
	}
	if s.host == "" {
		s.host = defaultDirectory
	}
	if strings.HasPrefix(s.host, "/") {
		s.place = fmt.Sprintf("%s at %s", s.database, filepath.Join(s.host, ".s.PGSQL."+strconv.Itoa(s.port)))
	} else {
		s.place = s.database + " at " + net.JoinHostPort(s.host, strconv.Itoa(s.port))
	}
	return s, nil
}

// config is how pgx connects to a database of the server. Nothing of the
// environment counts.
func (s *server) config(database string) (*pgx.ConnConfig, error) {
	var text strings.Builder
	add := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&text, "%s='%s' ", name, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value))
		}
	}
	add("host", s.host)
	add("port", strconv.Itoa(s.port))
	add("user", s.user)
	add("dbname", database)
	add("password", s.password.Reveal())
	add("passfile", noFile)
	add("sslmode", s.sslmode())
	add("sslrootcert", s.root)
	add("connect_timeout", strconv.Itoa(dialSeconds))
	config, err := pgx.ParseConfig(text.String())
	if err != nil {
		// The error's own text shows parts of the settings.
		return nil, sdk.Permanent(fmt.Errorf("connect to %s: its address or the certificate of sslrootcert cannot be used", s.place))
	}
	config.RuntimeParams = map[string]string{"application_name": "stepd", "client_encoding": "UTF8"}
	config.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec // nothing is prepared
	return config, nil
}

func (s *server) sslmode() string {
	if s.tls == "" {
		return "prefer"
	}
	return s.tls
}

// environment is that of pg_dump and psql: the only place where they find the
// password, which an argument would show to everybody. Settings that values are
// written by are the same for each dump and each check.
func (s *server) environment() []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LC_ALL=C",
		"PGHOST=" + s.host, "PGPORT=" + strconv.Itoa(s.port), "PGUSER=" + s.user, "PGDATABASE=" + s.database,
		"PGSSLMODE=" + s.sslmode(), "PGPASSFILE=" + noFile, "PGAPPNAME=stepd", "PGCONNECT_TIMEOUT=" + strconv.Itoa(dialSeconds),
		"PGOPTIONS=-c timezone=UTC -c bytea_output=hex -c lc_monetary=C",
	}
	if s.root != "" {
		env = append(env, "PGSSLROOTCERT="+s.root)
	}
	if password := s.password.Reveal(); password != "" {
		env = append(env, "PGPASSWORD="+password)
	}
	return env
}
