package fileset_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/fileset/disk"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

type countingDisk struct {
	disk.OS
	read atomic.Int64
}

func (d *countingDisk) ReadAt(f *os.File, b []byte, off int64) (int, error) {
	n, err := d.OS.ReadAt(f, b, off)
	d.read.Add(int64(n))
	return n, err
}

// A recovery reads a file to scan it, to take the damage out of it, to copy what
// stays, and to scan it again: not once more to look for acts without an end.
func TestRecoverReadsFourTimes(t *testing.T) {
	t.Parallel()
	src := testrecord.New(1)
	var data []byte
	for range 500 {
		data = append(append(data, src.Line("orders", papyra.KindEvent, strings.Repeat("x", 4000))...), '\n')
	}
	data = append(data, "junk\n"...)
	path := filepath.Join(testkit.FastDir(t), "r")
	must(t, os.WriteFile(path, bytes.Clone(data), 0o600))
	d := &countingDisk{}
	s, err := fileset.Open(fileset.Config{Path: path, Disk: d})
	must(t, err)
	defer func() { must(t, s.Close()) }()
	r, err := s.Recover(t.Context(), papyra.RecoverOptions{})
	if err != nil || r.Moved != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if read, most := d.read.Load(), int64(len(data))*9/2; read > most {
		t.Errorf("%d bytes were read of a file of %d, want at most %d", read, len(data), most)
	}
}
