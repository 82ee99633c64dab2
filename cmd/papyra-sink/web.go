package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
)

const (
	maxHeader = 16 << 10
	// webGrace is how long a request may still take when everything else has
	// stopped.
	webGrace = 500 * time.Millisecond
)

// httpAddress checks and completes the value of --http: a host that is left out
// is this machine only.
func httpAddress(value string) (string, error) {
	if value == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		return "", fmt.Errorf("%w: --http %q: write it as host:port, such as 127.0.0.1:9464", papyra.ErrConfig, value)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", fmt.Errorf("%w: --http %q: port %q is not a number from 0 to 65535", papyra.ErrConfig, value, port)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// web serves metrics and health over HTTP. It only reads the sink, and it stops
// after everything else.
type web struct {
	listener *webListener
	hosts    []string // names that are answered beside the usual ones
	times    webTimes
	server   *http.Server
	ended    chan struct{} // nil until serve
}

// webTimes bound how long a client may take.
type webTimes struct{ header, request, idle time.Duration }

// listenHTTP begins to listen at the address. Its error has the exit code of an
// address that cannot be had. hosts are names of it that are answered beside IP
// addresses and localhost.
func listenHTTP(address string, hosts []string) (*web, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, cli.Exit(cli.CodeUnavailable,
			fmt.Errorf("serve metrics and health at %s: %w: choose another address with --http; each sink of a host needs its own", address, err))
	}
	return &web{listener: newWebListener(l, maxWebConns()), hosts: hosts, times: webTimes{5 * time.Second, 10 * time.Second, 10 * time.Second}}, nil
}

func (w *web) url() string { return "http://" + w.listener.Addr().String() }

// loopback reports whether only this machine can reach it.
func (w *web) loopback() bool {
	addr, ok := w.listener.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

// serve answers until close.
func (w *web) serve(h http.Handler, log *slog.Logger) {
	w.server = &http.Server{
		Handler:           w.checkHost(h),
		ConnState:         w.listener.noteState,
		ReadHeaderTimeout: w.times.header,
		ReadTimeout:       w.times.request,
		WriteTimeout:      w.times.request,
		IdleTimeout:       w.times.idle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what clients do wrong
	}
	w.ended = make(chan struct{})
	go func() {
		defer close(w.ended)
		if err := w.server.Serve(w.listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics and health are no longer served", "error", err)
		}
	}()
}

// close gives running requests webGrace to end, and returns when nothing is served
// any more.
func (w *web) close() {
	if w.ended == nil {
		w.listener.Close()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), webGrace)
	defer cancel()
	if w.server.Shutdown(ctx) != nil {
		_ = w.server.Close()
	}
	<-w.ended
}
