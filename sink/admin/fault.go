package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/papyra/papyra"
)

// fault is an error on its way through a door: its text, what it is to be tested
// for, and the place in a store that it names.
type fault struct {
	Text  string      `json:"text"`
	Is    []string    `json:"is,omitempty"` // names of sentinels
	Store *storeFault `json:"store,omitempty"`
}

// storeFault is a papyra.StoreError.
type storeFault struct {
	Op     string       `json:"op"`
	Path   string       `json:"path"`
	Offset int64        `json:"offset"`
	Hint   string       `json:"hint,omitempty"`
	Cause  papyra.Cause `json:"cause,omitempty"`
	Text   string       `json:"text"` // of the error that it wraps
}

// Errors of this package. Test for them with [errors.Is].
var (
	// ErrGone: the sink that had the job is not there any more, or is another one since.
	// What an act had done by then stands in the reports of the store.
	ErrGone = errors.New("the sink that had the job is gone")
	// ErrSilent: a sink that ought to be there does not answer.
	ErrSilent = errors.New("the sink does not answer")

	errNotApproved = errors.New("not approved")
)

// sentinels are the errors that keep their identity on their way.
func sentinels() map[string]error {
	return map[string]error{
		"busy": papyra.ErrBusy, "closed": papyra.ErrClosed, "not_found": papyra.ErrNotFound, "config": papyra.ErrConfig,
		"usage": papyra.ErrUsage, "foreign_writer": papyra.ErrForeignWriter, "unavailable": papyra.ErrUnavailable,
		"incomplete": papyra.ErrIncomplete, "denied": papyra.ErrDenied, "canceled": context.Canceled,
		"gone": ErrGone, "not_approved": errNotApproved,
	}
}

// faultOf returns what is to be sent of an error, nil for none.
func faultOf(err error) *fault {
	if err == nil {
		return nil
	}
	f := &fault{Text: clip(err.Error(), maxText)}
	for name, sentinel := range sentinels() {
		if errors.Is(err, sentinel) {
			f.Is = append(f.Is, name)
		}
	}
	var placed *papyra.StoreError
	if errors.As(err, &placed) {
		f.Store = &storeFault{
			Op: placed.Op, Path: clip(placed.Path, maxText), Offset: placed.Offset, Hint: clip(placed.Hint, maxText), Cause: placed.Cause,
			Text: clip(fmt.Sprint(placed.Err), maxText),
		}
	}
	return f
}

// err returns the error that a fault stands for, nil for none.
func (f *fault) err() error {
	if f == nil {
		return nil
	}
	e := &remoteError{text: f.Text}
	known := sentinels()
	for _, name := range f.Is {
		if sentinel, ok := known[name]; ok {
			e.wrapped = append(e.wrapped, sentinel)
		}
	}
	if s := f.Store; s != nil {
		e.wrapped = append(e.wrapped, &papyra.StoreError{Op: s.Op, Path: s.Path, Offset: s.Offset, Hint: s.Hint, Cause: s.Cause, Err: errors.New(s.Text)})
	}
	return e
}

// remoteError is an error that happened in a sink.
type remoteError struct {
	text    string
	wrapped []error
}

// Error returns the text that the error had in the sink.
func (e *remoteError) Error() string { return e.text }

// Unwrap returns what the error is to be tested for.
func (e *remoteError) Unwrap() []error { return e.wrapped }
