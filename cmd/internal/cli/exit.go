package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
)

// The exit codes of every command.
const (
	CodeOK          = 0
	CodeRefused     = 1  // a check refused to go on because of anomalies
	CodeAnomalies   = 2  // anomalies found, or left
	CodeFailed      = 3  // the named store or the output failed as a whole
	CodeBusy        = 4  // somebody else holds the store
	CodeIncomplete  = 5  // a part could not be read: what is said is a lower bound
	CodeUsage       = 64 // wrong usage
	CodeUnavailable = 69 // broker or backend not reachable
	CodeDenied      = 77 // the broker or the socket does not allow it to this login
	CodeConfig      = 78 // wrong configuration
)

// Exit returns an error that makes the command exit with code. A nil err makes
// it exit without a message.
func Exit(code int, err error) error { return &exitError{code, err} }

type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// rank is the place of a code in the order in which the first wins.
func rank(code int) int {
	order := []int{143, 130, 129, CodeUsage, CodeConfig, CodeDenied, CodeUnavailable, CodeBusy, CodeFailed, CodeIncomplete, CodeAnomalies, CodeRefused}
	if i := slices.Index(order, code); i >= 0 {
		return i
	}
	return len(order)
}

// First returns which of two exit codes wins: the first of 64, 78, 77, 69, 4, 3,
// 5, 2, 1; 0 loses against each.
func First(a, b int) int {
	if rank(b) < rank(a) {
		return b
	}
	return a
}

// ExitCode returns the code for err: that of [Exit] if err is or joins one,
// otherwise what the sentinels in err stand for, otherwise 3. When err joins
// several errors the first of 64, 78, 77, 69, 4, 3, 5, 2, 1 wins. Nil is 0.
func ExitCode(err error) int {
	code, known := codeOf(err)
	if err != nil && !known {
		return CodeFailed
	}
	return code
}

func codeOf(err error) (code int, known bool) {
	// This looks at each level itself: errors.As would find only the first of several
	// joined errors, and their order must not matter.
	switch e := err.(type) { //nolint:errorlint // see above
	case nil:
		return CodeOK, false
	case *exitError:
		return e.code, true
	case *SignalError:
		return e.code(), true
	case interface{ Unwrap() error }:
		return codeOf(e.Unwrap())
	case interface{ Unwrap() []error }:
		// A part without a code matters only when no part has one: in "%w: %w" it is
		// a detail of the other part.
		for _, part := range e.Unwrap() {
			if c, ok := codeOf(part); ok {
				code, known = First(code, c), true
			}
		}
		return code, known
	}
	for _, s := range []struct {
		err  error
		code int
	}{
		{papyra.ErrUsage, CodeUsage},
		{papyra.ErrConfig, CodeConfig},
		{papyra.ErrDenied, CodeDenied},
		{papyra.ErrUnavailable, CodeUnavailable},
		{nats.ErrNoServers, CodeUnavailable},
		{nats.ErrTimeout, CodeUnavailable},
		{nats.ErrNoResponders, CodeUnavailable},
		{nats.ErrAuthorization, CodeDenied},
		{nats.ErrAuthExpired, CodeDenied},
		{nats.ErrAuthRevoked, CodeDenied},
		{nats.ErrPermissionViolation, CodeDenied},
		{context.DeadlineExceeded, CodeUnavailable},
		{papyra.ErrBusy, CodeBusy},
		{papyra.ErrNotFound, CodeFailed},
		{papyra.ErrForeignWriter, CodeFailed},
		{papyra.ErrIncomplete, CodeIncomplete},
	} {
		if errors.Is(err, s.err) {
			return s.code, true
		}
	}
	return CodeOK, false
}

// UsageErrorf returns an error with the exit code 64, that wraps papyra.ErrUsage.
func UsageErrorf(format string, args ...any) error {
	return Exit(CodeUsage, fmt.Errorf("%w: %s", papyra.ErrUsage, fmt.Sprintf(format, args...)))
}

// ConfigErrorf returns an error with the exit code 78, that wraps papyra.ErrConfig.
func ConfigErrorf(format string, args ...any) error {
	return Exit(CodeConfig, fmt.Errorf("%w: %s", papyra.ErrConfig, fmt.Sprintf(format, args...)))
}
