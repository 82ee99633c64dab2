package papyra

import (
	"errors"
	"fmt"

	"github.com/papyra/papyra/internal/escape"
)

// Errors of an [Encoder], wrapped.
var (
	// ErrTooLarge: the line would exceed MaxPublishedLine.
	ErrTooLarge = errors.New("record is larger than a publisher's line may be")
	// ErrEncode: a value that JSON cannot show, or one that nests deeper than
	// MaxDepth, or a marshaller that failed or panicked.
	ErrEncode = errors.New("value cannot be encoded")
)

// Sentinels that stores return, wrapped. Test for them with [errors.Is].
var (
	ErrBusy     = errors.New("somebody else holds the store")
	ErrClosed   = errors.New("store is closed")
	ErrNotFound = errors.New("store does not exist")
	ErrConfig   = errors.New("wrong configuration")
	ErrUsage    = errors.New("wrong usage")
	// ErrForeignWriter: the file's length is not what the holder of its lock
	// left, so somebody writes without taking the lock.
	ErrForeignWriter = errors.New("somebody else writes to the file")
	// ErrUnavailable: the backend or broker cannot be reached now; the call may
	// be tried again.
	ErrUnavailable = errors.New("backend or broker is not reachable")
	// ErrIncomplete: a part of the store could not be read; what was returned is
	// a lower bound.
	ErrIncomplete = errors.New("a part of the store could not be read")
	// ErrDenied: the broker, or the sink that holds a store, does not allow it to
	// this login or user.
	ErrDenied = errors.New("not allowed to this login")
)

// StoreError is an error at a place in a store.
type StoreError struct {
	Op     string // what was being done, a bare verb phrase
	Path   string // a file's path or a Redis key
	Offset int64  // byte offset in the file; -1 where there is none
	Hint   string // what the operator does next; may be empty
	// Cause is set where the store knows it and Err does not tell, as where a
	// server refused; otherwise it may be empty.
	Cause Cause
	Err   error
}

// Error returns "op path[ at offset]: cause[: hint]".
func (e *StoreError) Error() string {
	at := ""
	if e.Offset >= 0 {
		at = fmt.Sprintf(" at offset %d", e.Offset)
	}
	s := fmt.Sprintf("%s %s%s: %v", e.Op, escape.EncodeName(e.Path), at, e.Err)
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

// Unwrap returns the cause.
func (e *StoreError) Unwrap() error { return e.Err }

// RefusedError is the error of an [Appender] that could store the lines of some
// streams and not those of others. Every line of a stream that it does not name is
// stored. Only a store whose streams can fail alone returns it, as one on a server;
// a file has one end, and what refuses one line there refuses all.
type RefusedError struct {
	Streams []RefusedStream // at least one, each once
}

// RefusedStream is a stream that a store did not take all the lines of.
type RefusedStream struct {
	Stream Stream
	Stored int   // so many of its lines in the batch are stored, from its first
	Err    error // why not the others
}

// Error names the first stream with its reason, and how many others there are.
func (e *RefusedError) Error() string {
	first := &e.Streams[0]
	others := ""
	if n := len(e.Streams) - 1; n > 0 {
		others = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Sprintf("stream %s%s is refused: %v", first.Stream, others, first.Err)
}

// Unwrap returns the reasons.
func (e *RefusedError) Unwrap() []error {
	list := make([]error, len(e.Streams))
	for i := range e.Streams {
		list[i] = e.Streams[i].Err
	}
	return list
}
