package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/cmd/internal/cli"
	"github.com/papyra/papyra/internal/redact"
	"github.com/papyra/papyra/internal/version"
	"github.com/papyra/papyra/sink"
	"github.com/papyra/papyra/sink/admin"
	"github.com/papyra/papyra/sink/broker"
	"github.com/papyra/papyra/sink/metrics"
)

// quiesceTime bounds how long the embedded server takes to send its clients
// away.
const quiesceTime = 5 * time.Second

// run receives until ctx ends.
//
// The start goes in this order: the embedded server without its listener, the
// store, the subscription, and then the listener, so that no publisher finds a
// server without a sink. The stop goes in the reverse order: the listener and the
// publishers' connections, whose last messages the server has then handed on; the
// subscription and the store; the server. Metrics and health are served from
// before the start until after the stop.
func (s *settings) run(ctx context.Context, stderr io.Writer) (err error) {
	out := newOutput(stderr, s.format, s.level)
	defer out.close()
	defer func() {
		if cerr := s.backend.Close(); cerr != nil {
			err = errors.Join(err, fmt.Errorf("close the backend: %w", cerr))
		}
	}()

	var web *web
	if s.http != "" {
		// It comes first, so that a port that is taken is found out before anything
		// is touched, and /livez answers during a start that scans for minutes.
		if web, err = listenHTTP(s.http, s.httpHosts); err != nil {
			return err
		}
		defer web.close()
	}
	s.sink.Logger = out.log
	s.admin.Logger = out.log
	s.sink.Admin = admin.NewServer(s.backend, s.admin)
	s.broker.Logger = out.log
	var b *broker.Broker
	if s.embedded {
		if b, err = broker.New(s.broker); err != nil {
			return err
		}
		defer b.Close()
		s.sink.NATS = append(s.sink.NATS, nats.InProcessServer(b))
	}
	w, err := sink.New(s.sink, s.backend)
	if err != nil {
		return err
	}

	if web != nil {
		web.serve(metrics.Handler(w, version.Get().Label()), out.log)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() {
		defer stop()
		out.log.Info("stopping", "signal", cause(ctx))
		notify(out.log, daemon.SdNotifyStopping)
		if b != nil {
			quiet, cancel := context.WithTimeout(context.WithoutCancel(ctx), quiesceTime)
			defer cancel()
			if err := b.Quiesce(quiet); err != nil {
				out.log.Warn("not every client of the embedded server went away", "error", err)
			}
		}
	})()

	ended := make(chan error, 1)
	go func() { ended <- w.Run(running) }()
	select {
	case err := <-ended:
		return withExitCode(err)
	case <-w.Receiving():
	}
	if b != nil && ctx.Err() == nil { // not after Quiesce
		if err := b.Open(); err != nil {
			stop()
			return errors.Join(err, withExitCode(<-ended))
		}
	}
	out.started(s.banner(w, b, web))
	notify(out.log, daemon.SdNotifyReady)
	stopProgress := out.progress(w)
	err = <-ended
	stopProgress()
	out.ended(w.Stats())
	return withExitCode(err)
}

func cause(ctx context.Context) string {
	var sig *cli.SignalError
	if errors.As(context.Cause(ctx), &sig) {
		return sig.Signal.String()
	}
	return ctx.Err().Error()
}

// withExitCode gives an error of a sink its exit code.
func withExitCode(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sink.ErrAnomalies):
		return cli.Exit(cli.CodeRefused, err)
	case errors.Is(err, sink.ErrNotClean):
		return cli.Exit(cli.CodeAnomalies, err)
	case errors.Is(err, sink.ErrNotStored):
		return cli.Exit(cli.CodeFailed, err)
	}
	return err
}

// banner returns what the sink does and where, as pairs of a name and a value.
func (s *settings) banner(w *sink.Sink, b *broker.Broker, web *web) []slog.Attr {
	c := w.Config()
	server := slog.String("server", redact.URL(s.nats.URL))
	if b != nil {
		server = slog.String("listens", b.URL()+" (embedded)")
	}
	rejects := c.RejectFile
	if rejects == "" {
		rejects = "only counted: name a file with --rejects"
	}
	attrs := []slog.Attr{
		server,
		slog.String("stores", s.backend.URL()),
		slog.String("rejects", rejects),
		slog.String("group", c.Group),
		slog.String("instance", c.Instance),
		slog.String("validate", string(c.Validate)),
	}
	if sync := s.backend.Traits().Sync; sync != "" {
		attrs = slices.Insert(attrs, 2, slog.String("sync", sync))
	}
	if c.SpoolDir != "" {
		attrs = append(attrs, slog.String("spool", w.Stats().Spool.String()))
	}
	if web != nil {
		attrs = append(attrs, slog.String("http", web.url()))
	}
	if len(c.Systems) > 0 {
		attrs = append(attrs, slog.Any("systems", c.Systems))
	}
	if len(c.Kinds) > 0 {
		var names []string
		for _, k := range c.Kinds {
			names = append(names, k.Category())
		}
		attrs = append(attrs, slog.Any("categories", names))
	}
	if !s.retention.IsZero() {
		attrs = append(attrs, slog.String("retention", cli.ShowRetention(s.retention)+"; nothing is removed before a compaction"))
	}
	if b != nil && !b.Loopback() {
		attrs = append(attrs, slog.String("warning", "the login and the records travel unencrypted to the embedded server"))
	}
	if web != nil && !web.loopback() {
		attrs = append(attrs, slog.String("warning", "/metrics and /readyz have no logins, and whoever reaches this address can read them"))
	}
	if s.unused {
		attrs = append(attrs, slog.String("warning", "NATS logins are given and not used: they are for another server; name it with --server, or give the embedded one a login with --listen-user"))
	}
	return attrs
}

// numbers returns the counts that the log shows while the sink runs and at its
// end.
func numbers(st sink.Stats) []any {
	list := []any{
		"received", st.Received, "stored", st.Stored, "rejected", st.RejectedTotal(), "dropped", st.DroppedTotal(),
		"pending", st.Pending, "bytes", st.StoredBytes,
	}
	for _, count := range []struct {
		name string
		n    uint64
	}{
		{"dropped_sink_full", st.Dropped[papyra.DropSinkFull]},
		{"dropped_sink_stopped", st.Dropped[papyra.DropSinkStopped]},
		{"dropped_spool_full", st.Dropped[papyra.DropSpoolFull]},
		{"spool_records", uint64(st.Spool.Records)},
		{"spool_bytes", uint64(st.Spool.Bytes)},
		{"drained", st.Spool.Drained},
		{"refused_streams", uint64(st.RefusedStreams)},
		{"lost_messages", st.LostMessages},
		{"rejects_not_kept", st.RejectsNotKept},
		{"disconnects", st.Disconnects},
		{"subscriptions_refused", st.RefusedSubscriptions},
		{"answered_early", st.AnsweredEarly},
		{"answers_refused", st.AnswersRefused},
		{"append_errors", st.AppendErrorsTotal()},
		{"sync_errors", st.SyncErrors},
		{"rotations", uint64(st.Files.Rotations)},
		{"rotation_dropped_files", uint64(st.Files.DroppedFiles)},
		{"rotation_dropped_records", uint64(st.Files.DroppedRecords)},
		{"rotation_dropped_bytes", uint64(st.Files.DroppedBytes)},
		{"healed", uint64(st.Files.Healed)},
		{"cut_back", uint64(st.Files.CutBack)},
		{"torn", uint64(st.Files.Torn)},
		{"reopened", uint64(st.Files.Reopened)},
		{"truncated", uint64(st.Files.Truncated)},
		{"lock_retaken", uint64(st.Files.LockRetaken)},
	} {
		if count.n > 0 {
			list = append(list, count.name, count.n)
		}
	}
	if len(st.AppendErrors) > 0 {
		list = append(list, "append_errors_by_cause", st.AppendErrors)
	}
	return list
}
