package sink

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/papyra/papyra"
)

// CauseOf returns the cause of an error of a store, which is one of papyra.Causes,
// or "" for nil. What the store says in a papyra.StoreError comes first; otherwise
// the errno decides, or the kind of the error.
func CauseOf(err error) papyra.Cause {
	var (
		store   *papyra.StoreError
		errno   syscall.Errno
		network net.Error
	)
	for e := err; errors.As(e, &store); e = store.Err {
		if store.Cause != "" {
			return store.Cause
		}
	}
	switch {
	case err == nil:
		return ""
	case errors.Is(err, papyra.ErrForeignWriter):
		return papyra.CauseForeignWriter
	case errors.Is(err, papyra.ErrClosed):
		return papyra.CauseClosed
	case errors.Is(err, context.Canceled):
		return papyra.CauseCancelled
	case errors.Is(err, io.ErrShortWrite):
		return papyra.CauseShortWrite
	case errors.As(err, &errno):
		return causeOfErrno(errno)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return papyra.CauseTimeout
	case errors.As(err, &network), errors.Is(err, papyra.ErrUnavailable):
		return papyra.CauseUnreachable
	}
	return papyra.CauseOther
}

func causeOfErrno(errno syscall.Errno) papyra.Cause {
	switch errno {
	case syscall.ENOSPC:
		return papyra.CauseENOSPC
	case syscall.EDQUOT:
		return papyra.CauseEDQUOT
	case syscall.EFBIG:
		return papyra.CauseEFBIG
	case syscall.EIO:
		return papyra.CauseEIO
	case syscall.EROFS:
		return papyra.CauseEROFS
	case syscall.EACCES:
		return papyra.CauseEACCES
	case syscall.EPERM:
		return papyra.CauseEPERM
	case syscall.ENOENT:
		return papyra.CauseENOENT
	case syscall.ESTALE:
		return papyra.CauseESTALE
	case syscall.EMFILE:
		return papyra.CauseEMFILE
	case syscall.ENFILE:
		return papyra.CauseENFILE
	case syscall.ENOMEM:
		return papyra.CauseENOMEM
	case syscall.ETIMEDOUT:
		return papyra.CauseTimeout
	case syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.EHOSTUNREACH, syscall.ENETUNREACH:
		return papyra.CauseUnreachable
	}
	return papyra.CauseOther
}
