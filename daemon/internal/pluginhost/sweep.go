package pluginhost

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// strayPatience bounds the wait for killed processes to be gone.
const strayPatience = 2 * time.Second

// Sweep kills every process that an earlier daemon with this marker left:
// plugins, and what they started, wherever it moved to. Call it before New
// and under the lock of the state directory, for it would kill the plugins of
// a daemon that is alive as well. It returns when they are gone.
func Sweep(marker string) (killed int, err error) {
	return killMarked(func(value []byte) bool {
		rest, ok := bytes.CutPrefix(value, []byte(marker))
		return ok && (len(rest) == 0 || rest[0] == '#')
	}, 0)
}

// killStrays kills what carries this very instance's marker, except for one
// process (0: none).
func killStrays(instance string, except int) (int, error) {
	return killMarked(func(value []byte) bool { return string(value) == instance }, except)
}

// killMarked repeats until a pass finds nothing, since a process may fork
// while the others are being looked at.
func killMarked(match func([]byte) bool, except int) (killed int, err error) {
	deadline := time.Now().Add(strayPatience)
	for {
		n, err := killPass(match, except)
		killed += n
		if err != nil || n == 0 {
			return killed, err
		}
		if time.Now().After(deadline) {
			return killed, fmt.Errorf("processes keep appearing: %d killed so far", killed)
		}
	}
}

// killPass goes through /proc once and waits for those that it killed.
func killPass(match func([]byte) bool, except int) (killed int, err error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return 0, fmt.Errorf("look for processes: %w", err)
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close()
	if err != nil {
		return 0, fmt.Errorf("look for processes: %w", err)
	}
	var pidfds []int
	defer func() {
		for _, fd := range pidfds {
			_ = unix.Close(fd)
		}
	}()
	var errs []error
	for _, name := range names {
		pid, convErr := strconv.Atoi(name)
		if convErr != nil || pid == except || pid == os.Getpid() || !marked(pid, match) {
			continue
		}
		fd, openErr := unix.PidfdOpen(pid, 0)
		if openErr != nil {
			continue // gone
		}
		// Between the two looks the number may have been given to another.
		if !marked(pid, match) {
			_ = unix.Close(fd)
			continue
		}
		if killErr := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); killErr != nil {
			_ = unix.Close(fd)
			if !errors.Is(killErr, unix.ESRCH) {
				errs = append(errs, fmt.Errorf("kill process %d: %w", pid, killErr))
			}
			continue
		}
		pidfds = append(pidfds, fd)
	}
	return len(pidfds), errors.Join(append(errs, awaitDeaths(pidfds))...)
}

func awaitDeaths(pidfds []int) error {
	deadline := time.Now().Add(strayPatience)
	for _, fd := range pidfds {
		for {
			left := time.Until(deadline)
			if left <= 0 {
				return errors.New("a killed process is not gone yet")
			}
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
			if err == nil && n > 0 {
				break
			}
			if err != nil && !errors.Is(err, unix.EINTR) {
				return fmt.Errorf("wait for a killed process: %w", err)
			}
		}
	}
	return nil
}

// marked looks into the environment that the process was started with. It is
// readable for our own user's processes, which is whom plugins run as. A
// zombie has none.
func marked(pid int, match func([]byte) bool) bool {
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	for kv := range bytes.SplitSeq(environ, []byte{0}) {
		if value, ok := bytes.CutPrefix(kv, []byte(instanceEnv+"=")); ok {
			return match(value)
		}
	}
	return false
}
