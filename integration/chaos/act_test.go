package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/backend/memory"
	"github.com/papyra/papyra/sink/transfer"
)

// memoryBackend is a memory whose damage the test plants.
type memoryBackend struct{ *memory.Store }

func (b memoryBackend) Appender(ctx context.Context) (sink.Appender, error) {
	return b.Store.Appender(ctx)
}

// persist does an act until the store is there for it. A lock that was given up
// lives on for a moment where a process was being started: between its fork and
// its exec it has all files of this one.
func (w *worker) persist(what string, act func() error) {
	for deadline := time.Now().Add(testkit.Patience); ; time.Sleep(5 * time.Millisecond) {
		err := act()
		if err == nil {
			return
		}
		if !errors.Is(err, papyra.ErrUnavailable) && !errors.Is(err, papyra.ErrBusy) || time.Now().After(deadline) {
			w.t.Errorf("%s %s: %v", what, w.name(), err)
			return
		}
	}
}

// alone runs an act on the store. Files that a process holds are free only
// while it is away; the other stores may be held meanwhile, unless the act must
// not meet an appender.
func (w *worker) alone(must bool, long time.Duration, act func()) {
	if w.plan.store == storeRedis || !must && !w.plan.process {
		act()
		return
	}
	w.stop()
	act()
	time.Sleep(long)
	w.start()
}

// compact removes all but the newest records of each stream.
func (w *worker) compact() {
	w.alone(false, 0, func() {
		w.persist("compact", func() error {
			_, err := w.store.Compact(context.Background(), papyra.CompactOptions{
				Retention: papyra.Retention{General: papyra.Limits{Records: w.plan.keep}}, At: time.Now(),
			})
			if errors.Is(err, papyra.ErrNotFound) {
				return nil // nothing was stored yet
			}
			return err
		})
	})
}

// recover plants damage and moves it out again.
func (w *worker) recover(long time.Duration) {
	w.alone(true, long, func() {
		damage := [][]byte{[]byte(`{"kind":"event"`), []byte("no record at all\x00")}
		if flipped := w.flipped(); flipped != nil {
			damage = append(damage, flipped)
		}
		if err := w.plant(damage); err != nil {
			w.t.Errorf("plant damage in %s: %v", w.name(), err)
			return
		}
		moved, clean := int64(0), false
		w.persist("recover", func() error {
			r, err := w.store.Recover(context.Background(), papyra.RecoverOptions{Now: time.Now()})
			if r != nil {
				moved += r.Moved
				clean = err == nil && (r.After == nil || r.After.Clean())
			}
			if errors.Is(err, papyra.ErrNotFound) && w.plan.store == storeRedis && w.redis.gone.Load() {
				clean = true // the server has forgotten the damage with the rest
				return nil
			}
			return err
		})
		// An act that an outage ended has moved what it does not report.
		if w.plan.store != storeRedis && moved < int64(len(damage)) || !clean {
			w.t.Errorf("recover %s: %d of at least %d places moved, clean %v", w.name(), moved, len(damage), clean)
		}
	})
}

// flipped is a copy of a stored line with a bit changed, or nil.
func (w *worker) flipped() (line []byte) {
	found := errors.New("found")
	_, err := w.store.Read(context.Background(), papyra.Query{Limit: 1}, func(rec *papyra.Record, _ papyra.Place) error {
		line = bytes.Clone(rec.Line)
		line[len(line)/2] ^= 1
		return found
	})
	if !errors.Is(err, found) {
		return nil
	}
	return line
}

// plant puts lines into the store, past its appender.
func (w *worker) plant(lines [][]byte) error {
	switch w.plan.store {
	case storeMemory:
		for _, l := range lines {
			w.memory.Plant(l)
		}
	case storeRedis:
		for _, l := range lines {
			await(w.t, "redis to take damage", func() bool { return w.redis.try("XADD", w.prefix+":orders:events", "*", "data", l) })
		}
	default:
		path := filepath.Join(w.dir, "records.ndjson")
		if _, err := os.Stat(path); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(bytes.Join(lines, []byte("\n"))) // torn
		return errors.Join(err, f.Close())
	}
	return nil
}

// copy copies the store into a file, behind what an earlier copy has.
func (w *worker) copy() {
	if w.copied == "" {
		w.copied = filepath.Join(w.t.TempDir(), "copy.ndjson")
	}
	w.persist("copy", func() error {
		to, err := backend.Open("json:" + w.copied)
		if err != nil {
			return err
		}
		defer to.Close()
		r, err := transfer.Run(context.Background(), w.store, to, transfer.Options{})
		if err == nil && !r.Verified {
			err = errors.New("the copy is not verified")
		}
		return err
	})
}

// sameAsCopy copies what came since, and compares copy and store line by line.
func (w *worker) sameAsCopy() error {
	w.copy()
	data, err := os.ReadFile(w.copied)
	if err != nil {
		return err
	}
	got := bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	want, err := w.lines()
	if err != nil {
		return err
	}
	slices.SortFunc(got, bytes.Compare)
	slices.SortFunc(want, bytes.Compare)
	if !slices.EqualFunc(got, want, bytes.Equal) {
		return fmt.Errorf("the copy of %s has %d lines, which are not its %d", w.name(), len(got), len(want))
	}
	return nil
}
