package sink_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink"
)

func TestCauseOf(t *testing.T) {
	atPath := func(err error) error {
		return &papyra.StoreError{Op: "append to", Path: "r.ndjson", Err: &fs.PathError{Op: "write", Path: "r.ndjson", Err: err}}
	}
	_, refused := net.Dial("unix", filepath.Join(t.TempDir(), "nobody"))
	_, missing := os.Open(filepath.Join(t.TempDir(), "nothing"))
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for _, tt := range []struct {
		err  error
		want papyra.Cause
	}{
		{nil, ""},
		{atPath(syscall.ENOSPC), papyra.CauseENOSPC},
		{atPath(syscall.EDQUOT), papyra.CauseEDQUOT},
		{atPath(syscall.EFBIG), papyra.CauseEFBIG},
		{atPath(syscall.EIO), papyra.CauseEIO},
		{atPath(syscall.EROFS), papyra.CauseEROFS},
		{atPath(syscall.EACCES), papyra.CauseEACCES},
		{atPath(syscall.EPERM), papyra.CauseEPERM},
		{atPath(syscall.ESTALE), papyra.CauseESTALE},
		{atPath(syscall.EMFILE), papyra.CauseEMFILE},
		{atPath(syscall.ENFILE), papyra.CauseENFILE},
		{atPath(syscall.ENOMEM), papyra.CauseENOMEM},
		{atPath(syscall.EXDEV), papyra.CauseOther},
		{missing, papyra.CauseENOENT},
		{errors.Join(errors.New("first"), atPath(syscall.EIO)), papyra.CauseEIO},
		{atPath(io.ErrShortWrite), papyra.CauseShortWrite},
		{atPath(papyra.ErrForeignWriter), papyra.CauseForeignWriter},
		{atPath(papyra.ErrClosed), papyra.CauseClosed},
		// What the store says wins over what is below it, and over what is around.
		{&papyra.StoreError{Cause: papyra.CauseOOM, Err: syscall.EIO}, papyra.CauseOOM},
		{&papyra.StoreError{Err: fmt.Errorf("again: %w", &papyra.StoreError{Cause: papyra.CauseOOM, Err: errors.New("x")})}, papyra.CauseOOM},
		{context.Canceled, papyra.CauseCancelled},
		{late.Err(), papyra.CauseTimeout},
		{os.ErrDeadlineExceeded, papyra.CauseTimeout},
		{syscall.ETIMEDOUT, papyra.CauseTimeout},
		{syscall.ECONNRESET, papyra.CauseUnreachable},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, papyra.CauseUnreachable},
		{papyra.ErrUnavailable, papyra.CauseUnreachable},
		{refused, papyra.CauseENOENT}, // the socket's file
		{errors.New("no space left on device"), papyra.CauseOther},
	} {
		if got := sink.CauseOf(tt.err); got != tt.want {
			t.Errorf("CauseOf(%v) = %q, want %q", tt.err, got, tt.want)
		}
	}
}
