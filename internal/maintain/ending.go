package maintain

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// endWithin bounds how long an act that was interrupted takes to say how it ended.
const endWithin = 10 * time.Second

// endRoom is about the size of the report with which an act ends, and some more.
const endRoom = 16 << 10

// ending is an act between its announcement and its end.
//
//	reserve ──► prepare ──► announce ──► remove ──► end: done
//	   │           │            │           └ fails: end: withdrawn, or partial with what is gone
//	   │           │            └ fails: end: withdrawn (a part of the announcement may be stored)
//	   └───────────┴ fails: nothing of the act is stored
type ending struct {
	m    Medium
	held Held
	err  error // of the announcement

	shrink func(to int64) // of the reserved room; nil when all of it is free
}

// free lets the reserved room go.
func (e *ending) free() {
	if e.shrink != nil {
		e.shrink(0)
		e.shrink = nil
	}
}

// announce reserves room for an act's reports, prepares its first step, and appends
// its announcement. An error means that nothing of the act is stored; what failed
// afterwards is in err of the result.
func announce(m Medium, held Held, lines [][]byte, prepare func() error) (*ending, error) {
	size := int64(endRoom)
	for _, line := range lines {
		size += int64(len(line))
	}
	// Once for the announcement, and once for one that names what was really removed.
	shrink, err := held.Reserve(2 * size)
	if err != nil {
		return nil, fmt.Errorf("nothing was changed: %w", err)
	}
	if err := prepare(); err != nil {
		shrink(0)
		return nil, err
	}
	e := &ending{m: m, held: held, shrink: shrink}
	shrink(size)
	e.err = held.Announce(lines...)
	return e, nil
}

// end says that an act is done.
func (e *ending) end(act *Act, name string, performed any) error {
	e.free()
	last, err := act.Line(name, performed, e.m.Now())
	if err != nil {
		return err
	}
	return e.held.Announce(last)
}

// fail ends an act that failed with err, which may be that ctx has ended, and
// returns that error, joined with what kept it from ending well.
func (e *ending) fail(ctx context.Context, err error, takeBack func(held Held) error) error {
	e.free()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	if endErr := takeBack(e.held.Under(ctx)); endErr != nil {
		return errors.Join(err, fmt.Errorf("say how the act ended, so that the account may take what it announced for removed: %w", endErr))
	}
	return err
}
