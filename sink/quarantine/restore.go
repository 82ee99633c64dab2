// Package quarantine puts back what recoveries have moved out of a store: the records
// that are whole after all, because they were taken for damage by an older version, a
// limit, or a recovery that somebody did not want.
package quarantine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/papyra/papyra"
)

// Store is a store with a quarantine.
type Store interface {
	papyra.Store
	papyra.QuarantineReader
}

// Options say what is put back.
type Options struct {
	Dir    string // where the acts lie; see papyra.QuarantineReader
	Act    string // the recovery
	DryRun bool
	Now    time.Time // for the reports; zero means time.Now
}

// Report is what was put back, or with DryRun would be.
type Report struct {
	From    string `json:"from"`          // the recovery
	Act     string `json:"act,omitempty"` // id of the reports; "" when nothing was written
	DryRun  bool   `json:"dry_run"`
	Pieces  int64  `json:"pieces"`
	Records int64  `json:"records"` // whole ones in the pieces
	Present int64  `json:"present"` // of these, the ones that the store holds
	// Restored and RestoredBytes are the others, with their newlines.
	Restored      int64 `json:"restored"`
	RestoredBytes int64 `json:"restored_bytes"`
	// DamagedBytes are the bytes of the act that are no record. They stay where they are.
	DamagedBytes int64 `json:"damaged_bytes"`
}

const (
	// batchBytes is how much is appended at once, or one record.
	batchBytes = 1 << 20
	// endWithin is how long a restore that was interrupted takes to say how it ended.
	endWithin = 10 * time.Second
)

// Restore appends the records of a quarantine act to the store, at its end and byte for
// byte, each as often as the act holds it more than the store does. So the same call,
// given again after a crash, puts back what is missing and nothing twice; where nothing
// is missing it writes nothing. The quarantine stays as it is.
//
//  1. look: compare the act with its checksums, and with what the store holds
//  2. announce: append a RestoreReport, and make it durable
//  3. append the records, and make them durable
//  4. verify: read the store, and find each of them
//  5. end: append RestorePerformed: done, partial with what is back, or withdrawn
//
// No sink may hold the store meanwhile, but for a store on a server: there two restores
// at a time may store a record twice. Memory grows by about 40 bytes for each record of
// the act. Errors: those of the store; papyra.ErrNotFound if there is no such act.
func Restore(ctx context.Context, store Store, o Options) (*Report, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	r := &restoring{store: store, o: o, report: Report{From: o.Act, DryRun: o.DryRun}}
	if err := r.look(ctx); err != nil {
		return nil, err
	}
	if r.report.Restored == 0 || o.DryRun {
		return &r.report, nil
	}
	if err := r.change(ctx); err != nil {
		return nil, err
	}
	return &r.report, nil
}

// restoring is one run of Restore.
type restoring struct {
	store  Store
	o      Options
	report Report
	wanted counts // what the act has more of than the store
	out    papyra.Appender
	back   papyra.RestorePerformed // what is stored
}

// look counts what the act holds and the store does not.
func (r *restoring) look(ctx context.Context) error {
	r.report.Pieces, r.report.Records, r.report.DamagedBytes = 0, 0, 0
	r.wanted = counts{}
	err := r.eachRecord(ctx, func(rec *papyra.Record) error {
		r.report.Records++
		r.wanted.add(rec.Line, 1)
		return nil
	})
	if err != nil {
		return err
	}
	if r.report.Records == 0 {
		return nil
	}
	if err := r.subtractStored(ctx, r.wanted); err != nil {
		return err
	}
	r.report.Restored, r.report.RestoredBytes = r.wanted.total()
	r.report.Present = r.report.Records - r.report.Restored
	return nil
}

// subtractStored takes out of wanted what the store holds.
func (r *restoring) subtractStored(ctx context.Context, wanted counts) error {
	_, err := r.store.Read(ctx, papyra.Query{Duplicates: true}, func(rec *papyra.Record, _ papyra.Place) error {
		wanted.add(rec.Line, -1)
		return nil
	})
	if err != nil {
		return fmt.Errorf("compare with the store: %w", err)
	}
	return nil
}

// change holds the store, puts back what is missing, and says so.
func (r *restoring) change(ctx context.Context) (err error) {
	if r.out, err = r.store.Appender(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.out.Close()) }()
	// Somebody else may have put it back before the store was ours.
	if err := r.look(ctx); err != nil || r.report.Restored == 0 {
		return err
	}
	identity := papyra.NewIdentity("")
	id := r.o.Now.UTC().Format("20060102T150405Z") + "-" + identity.Run()
	say := func(ctx context.Context, seq uint64, name string, payload any) error {
		line, err := papyra.SealedReport(identity, papyra.SystemReserved, seq, &papyra.Report{Name: name, Payload: payload}, r.o.Now)
		if err != nil {
			return err
		}
		var b papyra.Batch
		b.Append(b.StreamIndex(papyra.Stream{System: papyra.SystemReserved, Kind: papyra.KindReport}), line[:len(line)-1])
		_, err = r.out.Append(ctx, &b)
		return errors.Join(err, r.out.Sync(ctx))
	}
	err = say(ctx, 1, papyra.ReportRestore, &papyra.RestoreReport{ID: id, From: r.o.Act, Records: r.report.Restored, Bytes: r.report.RestoredBytes})
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	r.report.Act = id
	r.back.ID, r.back.From, r.back.End = id, r.o.Act, papyra.EndDone
	if err = r.putBack(ctx); err == nil {
		err = r.verify(ctx)
	}
	if err != nil {
		r.back.End, r.back.Cause = papyra.EndPartial, err.Error()
		if r.back.Records == 0 {
			r.back.End = papyra.EndWithdrawn
		}
		var cancel func()
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), endWithin)
		defer cancel()
	}
	if endErr := say(ctx, 2, papyra.ReportRestorePerformed, &r.back); endErr != nil {
		err = errors.Join(err, fmt.Errorf("say how the act ended: %w", endErr))
	}
	return err
}

// putBack appends what is wanted and makes it durable.
func (r *restoring) putBack(ctx context.Context) error {
	left := r.wanted.clone()
	var b papyra.Batch
	flush := func() error {
		for b.Len() > 0 {
			size := len(b.Bytes())
			n, err := r.out.Append(ctx, &b)
			b.Drop(n)
			r.back.Records += int64(n)
			r.back.Bytes += int64(size - len(b.Bytes()))
			if err != nil {
				return fmt.Errorf("append: %w", err)
			}
		}
		return nil
	}
	err := r.eachRecord(ctx, func(rec *papyra.Record) error {
		if !left.take(rec.Line) {
			return nil
		}
		b.Append(b.StreamIndex(rec.Stream()), rec.Line)
		if len(b.Bytes()) < batchBytes {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	return errors.Join(err, r.out.Sync(context.WithoutCancel(ctx)))
}

// verify makes sure that the store holds what was put back.
func (r *restoring) verify(ctx context.Context) error {
	if err := r.look(ctx); err != nil {
		return err
	}
	missing := r.report.Restored
	r.report.Restored, r.report.RestoredBytes = r.back.Records, r.back.Bytes
	r.report.Present = r.report.Records - r.report.Restored
	if missing > 0 {
		return fmt.Errorf("%d records were appended and are not in the store: %w", missing, papyra.ErrForeignWriter)
	}
	return nil
}
