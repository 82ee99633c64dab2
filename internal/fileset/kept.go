package fileset

import (
	"os"

	"github.com/papyra/papyra/internal/fileset/disk"
)

// keptBlock is the size of the pieces in which bytes are kept. Pieces are filled
// once and used again, so that keeping a byte is one copy of it.
const keptBlock = 1 << 20

// kept holds the bytes that were written since the last good sync, to be
// written again should that one fail.
type kept struct {
	at     int64 // offset in the file of the first byte
	size   int
	blocks [][]byte // all of keptBlock; the first ones are in use
	most   int      // blocks in use at the fullest since the reset before the last
}

// add keeps b, which was written at offset off behind what is kept already.
func (k *kept) add(off int64, b []byte) {
	if k.size == 0 {
		k.at = off
	}
	for len(b) > 0 {
		block, from := k.size/keptBlock, k.size%keptBlock
		if block == len(k.blocks) {
			k.blocks = append(k.blocks, make([]byte, keptBlock))
		}
		n := copy(k.blocks[block][from:], b)
		b = b[n:]
		k.size += n
	}
}

// cut forgets what lies at offset end of the file and behind it.
func (k *kept) cut(end int64) {
	k.size = int(min(max(end-k.at, 0), int64(k.size)))
}

// reset forgets everything. Memory that the last round did not need goes too.
func (k *kept) reset() {
	used := (k.size + keptBlock - 1) / keptBlock
	if spare := max(used, k.most); spare < len(k.blocks) {
		clear(k.blocks[spare:])
		k.blocks = k.blocks[:spare]
	}
	k.most, k.size = used, 0
}

// writeTo writes everything at its place in f.
func (k *kept) writeTo(d disk.Disk, f *os.File) error {
	for done := 0; done < k.size; done += keptBlock {
		b := k.blocks[done/keptBlock][:min(keptBlock, k.size-done)]
		if _, err := d.WriteAt(f, b, k.at+int64(done)); err != nil {
			return err
		}
	}
	return nil
}
