package copyfiles

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stepd/stepd/sdk/sdktest"
)

// What the process that is killed is told, and tells.
const (
	childEnv       = "COPYFILES_TEST_CHILD" // the directory of all of it
	checkpointFile = "checkpoint"
	countFile      = "count" // of bytes read from the source by all processes
)

// TestTheProcessThatIsKilled is one attempt in a process of its own; without
// somebody who kills it there is nothing to test.
func TestTheProcessThatIsKilled(t *testing.T) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		return
	}
	count, err := os.OpenFile(filepath.Join(dir, countFile), os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	defer count.Close()
	var raw [8]byte
	_, _ = count.ReadAt(raw[:], 0)
	read := binary.BigEndian.Uint64(raw[:])
	tuned := defaultTuning()
	tuned.batchTime, tuned.partialFrom = 0, 1<<20
	tuned.sync = func(*os.File) error { return nil } // no power cut here
	tuned.readBytes = func(n int) {
		read += uint64(n)
		binary.BigEndian.PutUint64(raw[:], read)
		_, err := count.WriteAt(raw[:], 0)
		must(t, err)
		fmt.Println("read")
	}
	start := sdktest.Start{Settings: Settings{Source: filepath.Join(dir, "s"), Target: filepath.Join(dir, "t")},
		OnCheckpoint: func(_ int, data json.RawMessage) error {
			if err := os.WriteFile(filepath.Join(dir, checkpointFile+".new"), data, 0o600); err != nil {
				return err
			}
			return os.Rename(filepath.Join(dir, checkpointFile+".new"), filepath.Join(dir, checkpointFile))
		}}
	if saved, err := os.ReadFile(filepath.Join(dir, checkpointFile)); err == nil {
		start.Checkpoint = json.RawMessage(saved)
	}
	result := sdktest.New(t, plugin(tuned)).Execute(t.Context(), start)
	result.RequireCompleted(t)
	must(t, os.WriteFile(filepath.Join(dir, "report"), result.Outputs["report"], 0o600))
}

// Killed with SIGKILL at any moment, many times: the copy is whole in the end,
// and what was copied was not read again.
func TestKilledAgainAndAgainItReadsNothingTwice(t *testing.T) {
	dir := t.TempDir()
	content := tree{}
	random := rand.New(rand.NewPCG(5, 6))
	size := 0
	for i := range 200 {
		text := strings.Repeat("x", random.IntN(20_000))
		content[fmt.Sprintf("d%d/f%03d", i%7, i)] = text
		size += len(text)
	}
	large := make([]byte, 10<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(large)
	content["d3/large"], content["z"] = string(large), string(large[:3<<20])
	size += len(large) + 3<<20
	source := content.write(t, dir+"/s")
	for i := range 40 {
		link(t, source, fmt.Sprintf("d%d/f%03d", i%7, i), fmt.Sprintf("d%d/l%03d", (i*3)%7, i))
	}
	link(t, source, "d3/large", "y")
	kills := 0
	for ; ; kills++ {
		child := exec.Command(os.Args[0], "-test.run=^TestTheProcessThatIsKilled$", "-test.count=1")
		child.Env = append(os.Environ(), childEnv+"="+dir, "TMPDIR="+dir)
		out, err := child.StdoutPipe()
		must(t, err)
		must(t, child.Start())
		lines := bufio.NewScanner(out)
		var last string
		for n := 1 + random.IntN(10); n > 0 && lines.Scan(); {
			if last = lines.Text(); last == "read" {
				n--
			}
		}
		_ = child.Process.Kill() // perhaps it has ended
		for lines.Scan() {
			last = lines.Text()
		}
		err = child.Wait()
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), "killed") || kills > 500 {
			t.Fatalf("attempt %d: %v: %s", kills+1, err, last)
		}
	}
	sameTrees(t, look(t, source), look(t, dir+"/t"))
	sameFamilies(t, source, dir+"/t")
	raw, err := os.ReadFile(dir + "/" + countFile)
	must(t, err)
	read := int(binary.BigEndian.Uint64(raw))
	// A kill costs what was not in a checkpoint yet: three pieces of a large file,
	// or two small ones.
	if limit := size + kills*(3*256<<10); kills < 10 || read > limit || read < size {
		t.Errorf("%d bytes were read of %d, with %d kills", read, size, kills)
	}
	t.Logf("%d bytes were read of %d, with %d kills", read, size, kills)
}
