package fileset_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/faultdisk"
	"github.com/papyra/papyra/internal/fileset"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/internal/testrecord"
)

// sweptStore is a store of 40 records with damage and duplicates in each file.
func sweptStore(t *testing.T, set bool) (f *fixture, events [][]byte) {
	t.Helper()
	f = &fixture{t: t, path: filepath.Join(testkit.FastDir(t), "records.ndjson"), disk: faultdisk.New(), clock: &clock{now: testrecord.Start}}
	c := fileset.Config{Path: f.path, Disk: f.disk, Now: f.clock.Now}
	events = testrecord.New(1).Events(40)
	part := func(from, to int) []byte {
		return testrecord.Join(append(events[from:to:to], []byte("junk"), events[from], events[to-1])...)
	}
	files := map[string][]byte{"": part(0, 40)}
	if set {
		c.Numbered, c.MaxBytes, c.MaxFiles = true, 1<<30, 5
		files = map[string][]byte{".2": part(0, 15), ".1": part(15, 30), "": part(30, 40)}
	}
	for suffix, data := range files {
		must(t, os.WriteFile(f.path+suffix, data, 0o600))
	}
	var err error
	f.Store, err = fileset.Open(c)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f, events
}

// Whatever call of the system fails, once, at whatever step of an act: each record is
// stored or removed, the account is exact, also after a loss that follows, and the same
// command finishes.
func TestEachFailureOfAnAct(t *testing.T) {
	at := testrecord.Start
	acts := map[string]func(*fixture) error{
		"compact": func(f *fixture) error {
			_, err := f.Compact(context.Background(), papyra.CompactOptions{Retention: papyra.Retention{General: papyra.Limits{Records: 7}}, At: at})
			return err
		},
		"dedupe": func(f *fixture) error {
			_, err := f.Compact(context.Background(), papyra.CompactOptions{Dedupe: true, At: at})
			return err
		},
		"recover": func(f *fixture) error {
			_, err := f.Recover(context.Background(), papyra.RecoverOptions{Now: at})
			return err
		},
	}
	faults := map[faultdisk.Op][]error{
		faultdisk.Open: {unix.ENOSPC}, faultdisk.Write: {unix.ENOSPC}, faultdisk.Sync: {unix.EIO}, faultdisk.Truncate: {unix.EIO},
		faultdisk.Rename: {unix.EBUSY}, faultdisk.Remove: {unix.EACCES}, faultdisk.ReadAt: {unix.EIO},
	}
	for name, act := range acts {
		for _, set := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, a set %v", name, set), func(t *testing.T) {
				t.Parallel()
				failed := 0
				for op, errs := range faults {
					for _, err := range errs {
						for n := 0; tryFailure(t, set, act, faultdisk.Fault{Op: op, Err: err, Skip: n, Times: 1, Part: 9}); n++ {
							failed++
						}
					}
				}
				if failed < 25 {
					t.Errorf("%d calls failed: are they seen?", failed)
				}
			})
		}
	}
}

// tryFailure lets one call of an act fail, and reports whether there was such a call.
func tryFailure(t *testing.T, set bool, act func(*fixture) error, fault faultdisk.Fault) bool {
	t.Helper()
	f, events := sweptStore(t, set)
	before := f.disk.Calls(fault.Op)
	f.disk.Fail(fault)
	err := act(f)
	seen := f.disk.Calls(fault.Op)-before > fault.Skip
	f.disk.Heal()
	where := fmt.Sprintf("%s %d (%v): ", fault.Op, fault.Skip, err)
	if err != nil && !errors.Is(err, fault.Err) && !errors.Is(err, papyra.ErrIncomplete) {
		t.Errorf("%sanother error", where)
	}
	check := func(when string, missing uint64) (stored uint64) {
		got := countsOf(t, f.Store)
		if got.Missing != missing || got.Stored+got.RemovedTotal()+missing != 40 {
			t.Errorf("%s%s: %d stored, %d removed, %d missing; want %d missing of 40", where, when, got.Stored, got.RemovedTotal(), got.Missing, missing)
		}
		return got.Stored
	}
	check("after it", 0)
	// A loss of what is still stored is a loss, whatever the act had announced.
	active, lost := f.bytes(), uint64(0)
	for _, line := range events[31:39] { // of the others a copy may have been removed
		if lost < 2 && bytes.Contains(active, line) {
			active = bytes.ReplaceAll(active, append(bytes.Clone(line), '\n'), nil)
			lost++
		}
	}
	f.write(active)
	check("after a loss", lost)
	if err := act(f); err != nil {
		t.Errorf("%sagain: %v", where, err)
	}
	check("after the same command", lost)
	if err := act(f); err != nil {
		t.Errorf("%sonce more: %v", where, err)
	}
	if left := f.beside(); len(left) > 5 { // lock, quarantine, the set; a reserve that could not be removed
		t.Errorf("%sbeside the store lies %v", where, left)
	}
	_ = f.Close()
	return seen
}
