package fileset

import (
	"os"

	"github.com/papyra/papyra/internal/fileset/disk"
)

// unsyncedBlock is the size of the pieces in which unsynced bytes are kept. A piece
// is filled once and used again, so that to keep a byte costs one copy of it.
const unsyncedBlock = 64 << 10

// unsynced holds the bytes that were written since the last good sync. They are
// written again should the next sync fail.
type unsynced struct {
	at     int64 // offset in the file of the first byte
	size   int
	blocks [][]byte // all of unsyncedBlock; the first ones are in use
	most   int      // how many blocks were in use when it was last emptied
}

// addBytes keeps b, which was written at offset off, behind what is kept already.
func (u *unsynced) addBytes(off int64, b []byte) {
	if u.size == 0 {
		u.at = off
	}
	for len(b) > 0 {
		block, from := u.size/unsyncedBlock, u.size%unsyncedBlock
		if block == len(u.blocks) {
			u.blocks = append(u.blocks, make([]byte, unsyncedBlock))
		}
		n := copy(u.blocks[block][from:], b)
		b = b[n:]
		u.size += n
	}
}

// cutAt forgets what lies at offset end of the file and behind it.
func (u *unsynced) cutAt(end int64) {
	u.size = int(min(max(end-u.at, 0), int64(u.size)))
}

// forget forgets everything. It gives back the memory that neither this time nor
// the time before was needed.
func (u *unsynced) forget() {
	used := (u.size + unsyncedBlock - 1) / unsyncedBlock
	if spare := max(used, u.most); spare < len(u.blocks) {
		clear(u.blocks[spare:])
		u.blocks = u.blocks[:spare]
	}
	u.most, u.size = used, 0
}

// writeTo writes everything at its place in f.
func (u *unsynced) writeTo(d disk.Disk, f *os.File) error {
	for done := 0; done < u.size; done += unsyncedBlock {
		b := u.blocks[done/unsyncedBlock][:min(unsyncedBlock, u.size-done)]
		if _, err := d.WriteAt(f, b, u.at+int64(done)); err != nil {
			return err
		}
	}
	return nil
}
