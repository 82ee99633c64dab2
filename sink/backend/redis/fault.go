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

// Fault names why Redis did not do what was asked. The list is closed, so that
// faults can be counted by it.
type Fault string

// The faults.
const (
	FaultAuth        Fault = "noauth"      // no password, or a wrong one
	FaultPermission  Fault = "noperm"      // the user may not use the command or key
	FaultMemory      Fault = "oom"         // maxmemory is reached and nothing may be evicted
	FaultReadOnly    Fault = "readonly"    // the server is a replica
	FaultLoading     Fault = "loading"     // the server is reading its data set
	FaultWrongType   Fault = "wrongtype"   // something else stands in the place of a stream
	FaultMoved       Fault = "moved"       // the slot is on another node, more often than is followed
	FaultCluster     Fault = "clusterdown" // the cluster has no node for the slot
	FaultPersistence Fault = "misconf"     // the server cannot write its snapshot or log, and refuses
	FaultBusy        Fault = "busy"        // the server is running a script of somebody else's
	FaultClients     Fault = "maxclients"  // the server has too many connections
	FaultReplicas    Fault = "noreplicas"  // fewer replicas than the server wants
	FaultTimeout     Fault = "timeout"     // no answer in time
	FaultConnection  Fault = "connection"  // refused, lost, or never made
	FaultTLS         Fault = "tls"         // one side does not trust the other's certificate, or does not encrypt
	FaultOther       Fault = "other"
)

// faultInfo is what is known of a fault: the words with which the server's
// message begins, what the operator does, and whether the same call may succeed
// later.
type faultInfo struct {
	fault Fault
	words []string
	hint  string
	again bool
}

func faults() []faultInfo {
	return []faultInfo{
		{FaultAuth, []string{"NOAUTH", "WRONGPASS", "ERR invalid password", "ERR AUTH"}, "check the user and password", true},
		{FaultPermission, []string{"NOPERM", "ERR The user executing the script", "ERR ACL failure in script"}, "give the user the commands and keys that this store needs", true},
		{FaultMemory, []string{"OOM"}, "raise maxmemory or compact the store", true},
		{FaultReadOnly, []string{"READONLY"}, "the server is a replica: point the URL at the master, or use redis+sentinel://", true},
		{FaultLoading, []string{"LOADING"}, "the server is starting: try again", true},
		{FaultWrongType, []string{"WRONGTYPE"}, "something else stands under this key: rename or delete it", false},
		{FaultMoved, []string{"MOVED", "ASK", "TRYAGAIN", "CROSSSLOT"}, "the server is part of a cluster: use redis+cluster://, or wait until its slots have moved", true},
		{FaultCluster, []string{"CLUSTERDOWN", "MASTERDOWN"}, "a part of the cluster is down: bring its node back", true},
		{FaultPersistence, []string{"MISCONF"}, "the server cannot save to its disk: see its log", true},
		{FaultBusy, []string{"BUSY", "UNKILLABLE"}, "somebody's script runs on the server: wait, or end it with SCRIPT KILL", true},
		{FaultClients, []string{"ERR max number of clients"}, "raise maxclients or close other connections", true},
		{FaultReplicas, []string{"NOREPLICAS"}, "bring the replicas back, or lower min-replicas-to-write", true},
	}
}

// about returns what is known of an error's fault.
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
		return faultInfo{fault: FaultOther}
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
		return faultInfo{FaultTLS, nil, "check tls_ca, tls_cert and tls_server_name, and that the port is the encrypted one", true}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, goredis.ErrPoolTimeout),
		errors.As(err, &network) && network.Timeout():
		return faultInfo{FaultTimeout, nil, "the server is too slow or cannot be reached", true}
	case errors.As(err, &op), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		return faultInfo{FaultConnection, nil, "check that the server runs and that the address is right", true}
	}
	return faultInfo{fault: FaultOther}
}

// FaultOf returns why Redis did not do what was asked; "" for nil.
func FaultOf(err error) Fault {
	if err == nil {
		return ""
	}
	return about(err).fault
}

// answered reports whether err is an answer of the server's to this one command,
// so that nothing was done and the next command may succeed.
func answered(err error) bool {
	var server goredis.Error
	return errors.As(err, &server) && !errors.Is(err, goredis.Nil)
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
	return &papyra.StoreError{Op: op, Path: path, Offset: -1, Err: err, Hint: f.hint}
}
