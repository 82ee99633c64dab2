package fileset_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/testrecord"
)

// Whatever call of the system fails, once, at whatever step of a rotation that drops a
// file: each record is stored or removed, the account is exact, also after a loss that
// follows, and the rotations after it go on.
func TestEachFailureOfARotation(t *testing.T) {
	t.Parallel()
	failed := 0
	for op, err := range map[faultdisk.Op]error{
		faultdisk.Open: unix.ENOSPC, faultdisk.Write: unix.ENOSPC, faultdisk.Sync: unix.EIO, faultdisk.Truncate: unix.EIO,
		faultdisk.Rename: unix.EBUSY, faultdisk.Remove: unix.EACCES, faultdisk.ReadAt: unix.EIO,
	} {
		for n := 0; tryRotation(t, faultdisk.Fault{Op: op, Err: err, Skip: n, Times: 1, Part: 100}); n++ {
			failed++
		}
	}
	if failed < 25 {
		t.Errorf("%d calls failed: are they seen?", failed)
	}
}

// tryRotation lets one call fail while files are dropped, and reports whether there was
// such a call.
func tryRotation(t *testing.T, fault faultdisk.Fault) bool {
	t.Helper()
	f := newBound(t, 1500, 3)
	src := testrecord.New(1)
	where := fmt.Sprintf("%s %d: ", fault.Op, fault.Skip)
	var made [][]byte
	rotate := func(a papyra.Appender) {
		for range 3 {
			events := src.Events(6)
			made = append(made, events...)
			b := testrecord.Batch(events...)
			for tries := 0; b.Len() > 0; tries++ {
				n, err := a.Append(t.Context(), b)
				if b.Drop(n); err != nil && (tries > 3 || !errors.Is(err, fault.Err)) {
					t.Fatalf("%sappend: %v", where, err)
				}
			}
		}
		if err := a.Sync(t.Context()); err != nil {
			must(t, a.Sync(t.Context()))
		}
	}
	missing := uint64(0)
	check := func(when string) {
		got := countsOf(t, f.Store)
		if got.Missing != missing || got.Stored+got.RemovedTotal()+missing != uint64(len(made)) {
			t.Errorf("%s%s: %d stored, %d removed, %d missing; want %d missing of %d", where, when, got.Stored, got.RemovedTotal(), got.Missing, missing, len(made))
		}
	}
	a := f.appender()
	rotate(a)
	before := f.disk.Calls(fault.Op)
	f.disk.Fail(fault)
	rotate(a)
	seen := f.disk.Calls(fault.Op)-before > fault.Skip
	f.disk.Heal()
	check("after it")
	must(t, a.Close())
	check("when it is closed")
	// A loss of what is still stored is a loss, whatever was dropped.
	files := f.members()
	for _, m := range files[len(files)-2:] {
		for _, line := range made[:len(made)-1] { // the last one shows that the run goes so far
			if missing < 2 && bytes.Contains(m.data, line) {
				m.data = bytes.ReplaceAll(m.data, append(bytes.Clone(line), '\n'), nil)
				missing++
			}
		}
		path := f.path
		if m.number > 0 {
			path += fmt.Sprintf(".%d", m.number)
		}
		must(t, os.WriteFile(path, m.data, 0o600))
	}
	if missing == 0 {
		t.Errorf("%snothing is stored that could be lost", where)
	}
	check("after a loss")
	a = f.appender()
	rotate(a)
	rotate(a)
	check("after the next rotations")
	must(t, a.Close())
	if left := f.beside(); len(left) > 5 { // the lock, the set, a reserve that could not be removed
		t.Errorf("%sbeside the store lies %v", where, left)
	}
	must(t, f.Close())
	return seen
}
