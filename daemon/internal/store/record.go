package store

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/stepd/stepd/daemon/internal/task"
)

const (
	recordVersion = 1
	recordHeader  = 1 + 4

	// MaxValue is the size of the largest record, header included.
	MaxValue = 256 << 10
)

// CorruptError is a record that is not what was written. Nothing repairs it;
// what does not need the record goes on.
type CorruptError struct {
	Path   string // of the database
	Bucket string
	Key    []byte
	Name   string // the key, for people
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("the record %s of %s in %s is damaged: %s; stop the daemon, keep a copy of the file, and put back a backup of it "+
		"(or delete the task or run that the record belongs to)", e.Name, e.Bucket, e.Path, e.Reason)
}

func checksum(version byte, b bucket, k, payload []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var head [32]byte // a version and the longest name fit
	n := copy(head[1:], bucketNames[b])
	head[0] = version
	sum := crc32.Update(0, table, head[:n+1])
	sum = crc32.Update(sum, table, k)
	return crc32.Update(sum, table, payload)
}

// unseal returns the payload of a record, in place.
func unseal(path string, b bucket, k, value []byte) ([]byte, error) {
	corrupt := func(format string, args ...any) error {
		return &CorruptError{Path: path, Bucket: b.String(), Key: bytes.Clone(k), Name: b.describe(k), Reason: fmt.Sprintf(format, args...)}
	}
	if len(value) < recordHeader {
		return nil, corrupt("it has %d bytes, at least %d are needed", len(value), recordHeader)
	}
	payload := value[recordHeader:]
	want := binary.BigEndian.Uint32(value[1:])
	if got := checksum(value[0], b, k, payload); got != want {
		return nil, corrupt("its checksum is %08x, but that of its content %08x", want, got)
	}
	if value[0] != recordVersion {
		return nil, corrupt("it has version %d, this stepd knows only %d", value[0], recordVersion)
	}
	return payload, nil
}

// decode reads a JSON payload. A payload whose checksum holds and which is no
// such JSON was written by something else: damaged all the same.
func decode(path string, b bucket, k, payload []byte, v any) error {
	if err := json.Unmarshal(payload, v); err != nil {
		return &CorruptError{Path: path, Bucket: b.String(), Key: bytes.Clone(k), Name: b.describe(k), Reason: err.Error()}
	}
	return nil
}

// readStep reads the payload of a step's record.
func readStep(path string, k key, payload []byte) (task.RunStep, error) {
	s, err := parseStep(payload)
	if err != nil {
		return s, &CorruptError{Path: path, Bucket: bucketSteps.String(), Key: bytes.Clone(k), Name: bucketSteps.describe(k), Reason: err.Error()}
	}
	_, s.Position, _, _ = splitPosition(k)
	return s, nil
}

// encoder makes records. bbolt refers to a value until its transaction ends,
// so records lie one behind the other in blocks that are used again only then.
type encoder struct {
	buf   bytes.Buffer
	json  *json.Encoder
	block []byte

	scratch []byte
}

const (
	blockSize = 64 << 10
	keepBlock = 1 << 20 // a larger block is not kept for the next transaction
)

func newEncoder() *encoder {
	e := new(encoder)
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false)
	return e
}

// reset gives the memory of all records back.
func (e *encoder) reset() {
	if cap(e.block) > keepBlock {
		e.block = nil
	}
	e.block = e.block[:0]
	if e.buf.Cap() > keepBlock {
		e.buf = bytes.Buffer{}
	}
	if cap(e.scratch) > keepBlock {
		e.scratch = nil
	}
}

func (e *encoder) marshal(b bucket, k []byte, v any) ([]byte, error) {
	e.buf.Reset()
	if err := e.json.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: encode %s of %s: %w", task.ErrInvalid, b.describe(k), b, err)
	}
	return e.seal(b, k, bytes.TrimSuffix(e.buf.Bytes(), []byte("\n")))
}

// step makes the record of a step.
func (e *encoder) step(k key, s *task.RunStep) ([]byte, error) {
	e.scratch = appendStep(e.scratch[:0], s)
	return e.seal(bucketSteps, k, e.scratch)
}

func (e *encoder) seal(b bucket, k, payload []byte) ([]byte, error) {
	size := recordHeader + len(payload)
	if size > MaxValue {
		return nil, fmt.Errorf("%w: %s of %s has %d bytes, at most %d are kept; keep less in it, or split the work into more steps",
			task.ErrInvalid, b.describe(k), b, len(payload), MaxValue-recordHeader)
	}
	if cap(e.block)-len(e.block) < size {
		// Records of the old block keep it alive for as long as it is needed.
		e.block = make([]byte, 0, max(blockSize, size))
	}
	at := len(e.block)
	e.block = append(e.block, recordVersion)
	e.block = binary.BigEndian.AppendUint32(e.block, checksum(recordVersion, b, k, payload))
	e.block = append(e.block, payload...)
	return e.block[at:len(e.block):len(e.block)], nil
}
