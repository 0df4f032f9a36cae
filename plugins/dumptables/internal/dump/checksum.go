package dump

import (
	"fmt"
	"hash/crc32"
)

// Checksum is one of rows, whatever their order: the sum of a number for each
// row, made of all its bytes. It finds damage, not deceit. The checksum of a
// table is the sum of those of its parts.
type Checksum struct {
	sum    uint64
	a, b   uint32
	tables [2]*crc32.Table
}

func NewChecksum() *Checksum {
	return &Checksum{tables: [2]*crc32.Table{crc32.IEEETable, crc32.MakeTable(crc32.Castagnoli)}}
}

// Begin begins a value of the row, whose bytes follow.
func (c *Checksum) Begin(size int64, null bool) {
	head := [9]byte{0: 1}
	if null {
		head[0], size = 0, 0
	}
	for i := range 8 {
		head[i+1] = byte(size >> (8 * i))
	}
	c.Bytes(head[:])
}

func (c *Checksum) Bytes(b []byte) {
	c.a, c.b = crc32.Update(c.a, c.tables[0], b), crc32.Update(c.b, c.tables[1], b)
}

// Value is Begin and Bytes; nil is NULL.
func (c *Checksum) Value(b []byte) {
	c.Begin(int64(len(b)), b == nil)
	c.Bytes(b)
}

// Row ends a row. What two rows have exchanged must show, so the number is mixed
// before it is added.
func (c *Checksum) Row() {
	x := uint64(c.a)<<32 | uint64(c.b)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	c.sum += x ^ x>>31
	c.a, c.b = 0, 0
}

// String is the checksum of all rows so far, as manifests have it.
func (c *Checksum) String() string { return fmt.Sprintf("%016x", c.sum) }
