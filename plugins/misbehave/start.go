package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// beforeHandshake misbehaves at the start. Modes that spoil the handshake do
// not return.
func beforeHandshake(mode string) {
	greet := func(format string, args ...any) {
		fmt.Printf(format+"\n", args...)
		time.Sleep(time.Hour)
	}
	socket := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "s")
	listen := func(path string) net.Listener {
		l, err := net.Listen("unix", path)
		if err != nil {
			panic(err)
		}
		return l
	}
	switch mode {
	case "early-stdout":
		fmt.Println("Welcome to my plugin!")
	case "old-protocol":
		greet("1|0|unix|%s|grpc|AAAA", socket)
	case "new-protocol":
		greet("1|999|unix|%s|grpc|AAAA", socket)
	case "old-core":
		greet("7|1|unix|%s|grpc|AAAA", socket)
	case "netrpc":
		greet("1|1|unix|%s|netrpc|AAAA", socket)
	case "silent":
		time.Sleep(time.Hour)
	case "foreign-socket":
		dir, err := os.MkdirTemp("", "foreign")
		if err != nil {
			panic(err)
		}
		listen(filepath.Join(dir, "s"))
		greet("1|1|unix|%s|grpc|AAAA", filepath.Join(dir, "s"))
	case "tcp-address":
		greet("1|1|tcp|127.0.0.1:22|grpc|AAAA")
	case "link-address":
		_ = os.Symlink("/run/systemd/notify", socket)
		greet("1|1|unix|%s|grpc|AAAA", socket)
	case "bad-cert":
		listen(socket)
		greet("1|1|unix|%s|grpc|%s", socket, strings.Repeat("Z", 120))
	case "no-cert":
		listen(socket)
		greet("1|1|unix|%s|grpc|", socket)
	case "long-line":
		greet("%s", strings.Repeat("x", 1<<20))
	case "endless-line":
		chunk := []byte(strings.Repeat("x", 1<<16))
		for {
			if _, err := os.Stdout.Write(chunk); err != nil {
				time.Sleep(time.Hour)
			}
		}
	case "exit-early":
		fmt.Fprintln(os.Stderr, "cannot find my configuration")
		os.Exit(7)
	case "close-stdout":
		_ = os.Stdout.Close()
		time.Sleep(time.Hour)
	case "bad-log":
		// go-plugin's own reader of stderr panics on this.
		fmt.Fprintln(os.Stderr, `{"@message":5}`)
		fmt.Fprintln(os.Stderr, `{"@message":"x","@level":[],"@timestamp":{}}`)
	case "slow-start":
		time.Sleep(300 * time.Millisecond)
	}
}
