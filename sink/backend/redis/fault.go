package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/papyra/papyra"
)

// faultInfo is what is known of a fault: its cause, the words with which the
// server's message begins, what the operator does, and whether the same call may
// succeed later.
type faultInfo struct {
	cause papyra.Cause
	words []string
	hint  string
	again bool
}

func faults() []faultInfo {
	return []faultInfo{
		{papyra.CauseNOAUTH, []string{"NOAUTH", "WRONGPASS", "ERR invalid password", "ERR AUTH"}, "check the user and password", true},
		{papyra.CauseNOPERM, []string{"NOPERM", "ERR The user executing the script", "ERR ACL failure in script"}, "give the user the commands and keys that this store needs", true},
		{papyra.CauseOOM, []string{"OOM"}, "raise maxmemory, or compact the store: from Redis 7 on that works on a full server too", true},
		{papyra.CauseREADONLY, []string{"READONLY"}, "the server is a replica: point the URL at the master, or use redis+sentinel://", true},
		{papyra.CauseLOADING, []string{"LOADING"}, "the server is starting: try again", true},
		{papyra.CauseWRONGTYPE, []string{"WRONGTYPE"}, "something else stands under this key: rename or delete it", false},
		{papyra.CauseMOVED, []string{"MOVED", "ASK", "TRYAGAIN", "CROSSSLOT"}, "the server is part of a cluster: use redis+cluster://, or wait until its slots have moved", true},
		{papyra.CauseCLUSTERDOWN, []string{"CLUSTERDOWN", "MASTERDOWN"}, "a part of the cluster is down: bring its node back", true},
		{papyra.CauseMISCONF, []string{"MISCONF"}, "the server cannot save to its disk: see its log", true},
		{papyra.CauseBUSY, []string{"BUSY", "UNKILLABLE"}, "somebody's script runs on the server: wait, or end it with SCRIPT KILL", true},
		{papyra.CauseMaxClients, []string{"ERR max number of clients"}, "raise maxclients or close other connections", true},
		{papyra.CauseNOREPLICAS, []string{"NOREPLICAS"}, "bring the replicas back, or lower min-replicas-to-write", true},
	}
}

// about returns what is known of an error.
func about(err error) faultInfo {
	var server goredis.Error
	if errors.As(err, &server) {
		text := server.Error()
		// Before version 7 the message of a command in a script stands behind
		// the script's own.
		if _, inner, ok := strings.Cut(text, "user_script:"); ok && strings.HasPrefix(text, "ERR Error running script") {
			if _, message, ok := strings.Cut(inner, ": "); ok {
				text = strings.TrimPrefix(message, "-")
			}
		}
		for _, f := range faults() {
			for _, word := range f.words {
				if strings.HasPrefix(text, word) {
					return f
				}
			}
		}
		return faultInfo{cause: papyra.CauseOther}
	}
	var (
		network net.Error
		op      *net.OpError
		trust   *tls.CertificateVerificationError
		alert   tls.AlertError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &trust), errors.As(err, &alert), errors.As(err, &record):
		return faultInfo{papyra.CauseTLS, nil, "check tls_ca, tls_cert and tls_server_name, and that the port is the encrypted one", true}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, goredis.ErrPoolTimeout),
		errors.As(err, &network) && network.Timeout():
		return faultInfo{papyra.CauseTimeout, nil, "the server is too slow or cannot be reached", true}
	case errors.As(err, &op), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		return faultInfo{papyra.CauseUnreachable, nil, "check that the server runs and that the address is right", true}
	}
	return faultInfo{cause: papyra.CauseOther}
}

// CauseOf returns why Redis did not do what was asked, one of those that a Redis
// server or the way to it can have; "" for nil.
func CauseOf(err error) papyra.Cause {
	if err == nil {
		return ""
	}
	return about(err).cause
}

// ofOneKey reports whether a server refused a command for its key, so that the same
// command may succeed with another one.
func ofOneKey(err error) bool {
	switch about(err).cause {
	case papyra.CauseWRONGTYPE:
		return true
	case papyra.CauseNOPERM: // otherwise it is for the command
		return strings.Contains(err.Error(), "a key") || strings.Contains(err.Error(), "the keys")
	}
	return false
}

// answered reports whether err is an answer of the server's to this one command,
// so that nothing was done and the next command may succeed.
func answered(err error) bool {
	var server goredis.Error
	return errors.As(err, &server) && !errors.Is(err, goredis.Nil)
}

// says reports whether err is an answer of the server's that begins with words.
func says(err error, words string) bool {
	var server goredis.Error
	return errors.As(err, &server) && strings.HasPrefix(server.Error(), words)
}

// failed is the error of a command: a papyra.StoreError that wraps
// papyra.ErrUnavailable where the same call may succeed later. path is a key or
// the store's URL. The end of ctx is returned as it is.
func failed(ctx context.Context, op, path string, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var mine *papyra.StoreError
	if errors.As(err, &mine) || errors.Is(err, papyra.ErrConfig) {
		return err
	}
	if errors.Is(err, goredis.ErrClosed) {
		return &papyra.StoreError{Op: op, Path: path, Offset: -1, Err: papyra.ErrClosed}
	}
	f := about(err)
	if f.again || !answered(err) {
		err = fmt.Errorf("%w: %w", papyra.ErrUnavailable, err)
	}
	return &papyra.StoreError{Op: op, Path: path, Offset: -1, Err: err, Hint: f.hint, Cause: f.cause}
}
