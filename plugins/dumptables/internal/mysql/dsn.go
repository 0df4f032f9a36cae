package mysql

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/stepd/stepd/plugins/dumptables/internal/dump"
	"github.com/stepd/stepd/sdk"
)

const (
	dialTimeout   = 10 * time.Second
	defaultPort   = "3306"
	defaultSocket = "/run/mysqld/mysqld.sock"
)

// server is where a database is and who asks.
type server struct {
	config   *driver.Config
	database string
	place    string // for people: "shop at db.example:3306"
}

const dsnForm = "write mysql://USER@HOST:PORT/DATABASE, or mysql://USER@/DATABASE?socket=PATH"

// parse reads the DSN's part behind the scheme. Its errors repeat nothing of it
// but names of parameters: a password may stand anywhere in what is not well
// formed.
func parse(at dump.Location) (*server, error) {
	refuse := func(why string) (*server, error) {
		return nil, sdk.Permanent(errors.New("setting dsn: " + why))
	}
	if !strings.HasPrefix(at.Address, "//") {
		return refuse("it is not the address of a server: " + dsnForm)
	}
	u, err := url.Parse("mysql:" + at.Address)
	if err != nil {
		return refuse("it cannot be read as an address: " + dsnForm)
	}
	if _, given := u.User.Password(); given {
		return refuse("it holds a password, which everybody who may see the task would see: take it out and use password_file or password")
	}
	database := strings.TrimPrefix(u.Path, "/")
	switch {
	case u.User.Username() == "":
		return refuse("the user is missing: " + dsnForm)
	case database == "":
		return refuse("the database is missing: " + dsnForm)
	case u.Fragment != "" || strings.Contains(database, "/"):
		return refuse("there is something behind the database: " + dsnForm)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return refuse("its parameters cannot be read: " + dsnForm)
	}
	for name := range query {
		switch name {
		case "socket", "tls":
		case "password", "passwd", "pass", "pwd":
			return refuse("it holds a password, which everybody who may see the task would see: take it out and use password_file or password")
		default:
			return refuse(fmt.Sprintf("it has a parameter %q; known are socket and tls", name))
		}
	}
	config := driver.NewConfig()
	config.User, config.Passwd, config.DBName = u.User.Username(), at.Password.Reveal(), database
	config.Net, config.Addr = "tcp", net.JoinHostPort(u.Hostname(), defaultPort)
	if u.Port() != "" {
		config.Addr = u.Host
	}
	socket := query.Get("socket")
	switch {
	case socket != "" && u.Host != "" && u.Hostname() != "localhost":
		return refuse("it has a host and a socket: leave one out")
	case socket != "":
		config.Net, config.Addr = "unix", socket
	case u.Host == "":
		config.Net, config.Addr = "unix", defaultSocket
	}
	switch mode := query.Get("tls"); mode {
	case "", "false":
	case "true", "skip-verify", "preferred":
		config.TLSConfig = mode
	default:
		return refuse("the parameter tls is one of true, skip-verify, preferred and false")
	}
	config.Timeout = dialTimeout
	config.InterpolateParams = true // one round trip, and no statement handles to leak
	config.MaxAllowedPacket = 0     // as the server has it
	config.Logger = &driver.NopLogger{}
	return &server{config: config, database: database, place: database + " at " + config.Addr}, nil
}
