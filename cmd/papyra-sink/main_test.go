package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/redistest"
	"github.com/papyra/papyra/internal/testkit"
	"github.com/papyra/papyra/sink/backend"
	"github.com/papyra/papyra/sink/broker"
)

const patience = 30 * time.Second

// program is the built papyra-sink, which TestMain makes: signals and exit codes
// are those of a process.
var program string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "papyra-sink-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "papyra-sink")
	if err := testkit.Build(dir, "."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// process is a running papyra-sink and its log.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}

	mu      sync.Mutex
	log     bytes.Buffer
	banner  map[string]any
	started chan struct{}
}

// command is papyra-sink in dir without the tester's environment.
func command(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	if socket := os.Getenv("NOTIFY_SOCKET"); socket != "" {
		cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket)
	}
	return cmd
}

// start starts papyra-sink and waits until it receives.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	return startCommand(t, command(dir, args...))
}

// startCommand starts a command that is papyra-sink and waits until it receives.
func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	args := cmd.Args
	p := &process{t: t, cmd: cmd, done: make(chan struct{}), started: make(chan struct{})}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			p.line(lines.Bytes())
		}
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("papyra-sink %q:\n%s", args, p.text())
		}
	})
	select {
	case <-p.started:
	case <-p.done:
		t.Fatalf("papyra-sink %q ended: %v", args, p.cmd.ProcessState)
	case <-time.After(patience):
		t.Fatalf("papyra-sink %q is not ready", args)
	}
	return p
}

func (p *process) line(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log.Write(b)
	p.log.WriteByte('\n')
	var fields map[string]any
	if json.Unmarshal(b, &fields) == nil && fields["msg"] == "receiving" && p.banner == nil {
		p.banner = fields
		close(p.started)
	}
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// messages returns the structured log lines with a message.
func (p *process) messages(text string) (list []map[string]any) {
	for l := range strings.Lines(p.text()) {
		var fields map[string]any
		if json.Unmarshal([]byte(l), &fields) == nil && fields["msg"] == text {
			list = append(list, fields)
		}
	}
	return list
}

// url is where the embedded server listens.
func (p *process) url() string {
	s, _ := p.banner["listens"].(string)
	return strings.TrimSuffix(s, " (embedded)")
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the end and returns the code, or minus the signal.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatal("papyra-sink does not end")
	}
	return exitCode(p.cmd.ProcessState)
}

func exitCode(s *os.ProcessState) int {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return -int(ws.Signal())
	}
	return s.ExitCode()
}

func dial(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func send(t *testing.T, nc *nats.Conn, data string) {
	t.Helper()
	if err := nc.Publish(papyra.RecordsSubject("orders", papyra.KindEvent), []byte(data)); err != nil {
		t.Fatal(err)
	}
}

func flush(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
}

func event(n int) string {
	return fmt.Sprintf(`{"kind":"event","system_id":"orders","actor_address":{"system":"orders","actor_id":%d},"event_type":"ActorStarted","payload":{},"timestamp":1700000000.5}`, n)
}

// records returns the lines of a file that are not the sink's own.
func records(t *testing.T, path string) (lines []string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(raw)) {
		if !strings.Contains(l, `"system_id":"papyra"`) {
			lines = append(lines, l)
		}
	}
	return lines
}

func TestDefaultsStoreInTheDirectoryAndStopCleanly(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "--listen", "127.0.0.1:0")
	nc := dial(t, p.url())
	send(t, nc, event(1)+"\nnonsense\n"+event(2))
	flush(t, nc)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	path := filepath.Join(dir, "papyra-data", "records.ndjson")
	if got, want := strings.Join(records(t, path), ""), event(1)+"\n"+event(2)+"\n"; got != want {
		t.Errorf("stored %q, want %q", got, want)
	}
	rejects, err := os.ReadFile(filepath.Join(dir, "papyra-data", ".records.ndjson.rejected"))
	if err != nil || !bytes.Contains(rejects, []byte(`"length":8,"raw":"bm9uc2Vuc2U="`)) {
		t.Errorf("reject file: %q, %v", rejects, err)
	}
	if p.banner["stores"] == nil || p.banner["sync"] != "interval" || p.banner["rejects"] == nil {
		t.Errorf("the banner does not say where and how: %v", p.banner)
	}
	for _, l := range strings.Split(strings.TrimSpace(p.text()), "\n") {
		if !json.Valid([]byte(l)) {
			t.Errorf("log line %q is not JSON", l)
		}
	}
}

// What a rotation dropped is in the totals, and the log says before that keep_*
// is not all that bounds such a store.
func TestRotatingStoreIsWarnedOfAndItsLossesAreCounted(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "--listen", "127.0.0.1:0", "--keep-records", "1000", "--backend", "rotating:r.ndjson?max_bytes=10kB&max_files=2")
	nc := dial(t, p.url())
	const n = 500
	for i := range n {
		send(t, nc, event(i))
	}
	flush(t, nc)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	if warnings := p.messages("the store may keep less than expected"); len(warnings) != 1 ||
		!strings.Contains(warnings[0]["warning"].(string), "never more than") {
		t.Errorf("got warnings %v, want one about keep_*", warnings)
	}
	kept := len(records(t, filepath.Join(dir, "r.ndjson"))) + len(records(t, filepath.Join(dir, "r.ndjson.1")))
	ended := p.messages("ended")
	if len(ended) != 1 {
		t.Fatalf("got %v, want one line with the totals", ended)
	}
	dropped, _ := ended[0]["rotation_dropped_records"].(float64)
	if stored, _ := ended[0]["stored"].(float64); stored != n || dropped < float64(n-kept) {
		t.Errorf("%d records are left of %v stored and %v dropped, want no fewer dropped than missing", kept, stored, dropped)
	}
	for _, name := range []string{"rotations", "rotation_dropped_files", "rotation_dropped_bytes"} {
		if v, _ := ended[0][name].(float64); v < 1 {
			t.Errorf("the totals say %s=%v:\n%v", name, ended[0][name], ended[0])
		}
	}
}

func TestRedisThatPersistsNothingIsWarnedOf(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
	p := start(t, t.TempDir(), "--listen", "127.0.0.1:0", "--backend", "redis://"+server.Addr())
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	var got []string
	for _, fields := range p.messages("the store may keep less than expected") {
		text, _ := fields["warning"].(string)
		got = append(got, text)
	}
	for _, part := range []string{"maxmemory-policy is allkeys-lru", "nothing is persisted"} {
		if n := strings.Count(strings.Join(got, "\n"), part); n != 1 {
			t.Errorf("%q is in the warnings %d times, want once:\n%q", part, n, got)
		}
	}
}

func TestUsageAndConfiguration(t *testing.T) {
	dir := t.TempDir()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	closed.Close()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for _, tt := range []struct {
		name string
		args []string
		code int
		part string
	}{
		{"unknown flag", []string{"--bakend", "x"}, 64, "unknown flag --bakend"},
		{"argument", []string{"start"}, 64, `unexpected argument "start"`},
		{"open to others without a login", []string{"--listen", "0.0.0.0:0"}, 78, "--listen-password-file"},
		{"user without a password", []string{"--listen-user", "u"}, 78, "--listen-password-file"},
		{"password without a user", []string{"--listen-password", "canary"}, 78, "--listen-user"},
		{"login of another server", []string{"--server", "nats://x", "--listen-user", "u"}, 64, "--listen-user is for the embedded server"},
		{"connections is a word", []string{"--max-connections", "many"}, 64, "--max-connections"},
		{"no connections", []string{"--max-connections", "0"}, 64, "--max-connections"},
		{"too many connections", []string{"--max-connections", "99999999"}, 78, "ulimit -n"},
		{"server and listen", []string{"--server", "nats://x", "--listen", ":0"}, 64, "--listen is for the embedded server"},
		{"category", []string{"--category", "novels"}, 64, "choose events"},
		{"buffer", []string{"--buffer", "many"}, 64, "--buffer"},
		{"buffer too small", []string{"--buffer", "1kB"}, 78, "too small"},
		{"stop timeout", []string{"--stop-timeout", "0"}, 64, "cannot be 0"},
		{"log level", []string{"--log-level", "loud"}, 64, "--log-level"},
		{"log format", []string{"--log-format", "xml"}, 64, "--log-format"},
		{"negative retention", []string{"--keep-records", "-1"}, 78, "keep_records=-1"},
		{"retention of no category", []string{"--keep", "novels.keep_age=1d"}, 78, "unknown category"},
		{"retention without a value", []string{"--keep", "events"}, 64, "write CATEGORY.LIMIT=VALUE"},
		{"backend", []string{"--backend", "sqlite:x"}, 78, "it must be one of"},
		{"sync", []string{"--sync", "sometimes"}, 78, "sync"},
		{"startup check", []string{"--startup-check", "maybe"}, 78, "unknown startup check"},
		{"group", []string{"--group", "a b"}, 78, "group name"},
		{"listen", []string{"--listen", "127.0.0.1:http"}, 78, "not a number"},
		{"listen in use", []string{"--listen", busy.Addr().String()}, 69, "--listen"},
		{"http in use", []string{"--listen", "127.0.0.1:0", "--http", busy.Addr().String()}, 69, "choose another address with --http"},
		{"http without a port", []string{"--http", "127.0.0.1"}, 78, "host:port"},
		{"http is a URL", []string{"--http", "http://127.0.0.1:9464"}, 78, "host:port"},
		{"no server", []string{"--server", "nats://u:canary@" + nobody, "--timeout", "200ms"}, 69, "connect to the NATS server"},
		{"server is no URL", []string{"--server", "nats://u:can%zzary@x", "--timeout", "200ms"}, 78, ""},
		{"password with a comma", []string{"--server", "nats://u:a,canary@" + nobody, "--timeout", "200ms"}, 78, ""},
		{"server of another protocol", []string{"--server", "http://u:canary@" + nobody}, 78, "scheme"},
		{"server with a port that is none", []string{"--server", "nats://127.0.0.1:99999"}, 78, "port"},
		{"token", []string{"--server", "nats://canary@" + nobody, "--timeout", "200ms"}, 69, "connect to the NATS server"},
		{"server without a scheme", []string{"--server", "u:canary@" + nobody, "--timeout", "200ms"}, 69, "connect to the NATS server"},
		{"password of a store with a question mark", []string{"--backend", "redis://u:a?canary@" + nobody}, 78, "%3F"},
		{"URL without its flag", []string{"redis://u:a,canary@" + nobody}, 64, "unexpected argument"},
		{"rejects is a directory", []string{"--rejects", dir}, 78, "is a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := command(t.TempDir(), tt.args...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_ = cmd.Run()
			if code := exitCode(cmd.ProcessState); code != tt.code || !strings.Contains(stderr.String(), tt.part) {
				t.Errorf("papyra-sink %q: exit code %d, want %d with %q:\n%s", tt.args, code, tt.code, tt.part, stderr.String())
			}
			if stdout.Len() > 0 {
				t.Errorf("stdout is %q, want nothing", stdout.String())
			}
			if strings.Contains(stderr.String(), "canary") || strings.Contains(stderr.String(), "can%zzary") {
				t.Errorf("stderr shows the password:\n%s", stderr.String())
			}
		})
	}
}

func TestHelpNamesEveryFlagAndTheExitCodes(t *testing.T) {
	out, err := command(t.TempDir(), "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"--backend", "--server", "--listen", "--group", "--instance", "--startup-check", "--sync", "--keep-age", "--rejects", "--validate", "--creds", "--password-file", "--http", "PAPYRA_HTTP", "Examples:", "Exit codes:", "PAPYRA_BACKEND", "NATS_URL"} {
		if !bytes.Contains(out, []byte(word)) {
			t.Errorf("the help does not mention %s", word)
		}
	}
}

func TestSecondSinkOnAFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, "--listen", "127.0.0.1:0")
	cmd := command(dir, "--listen", "127.0.0.1:0")
	out, _ := cmd.CombinedOutput()
	if code := exitCode(cmd.ProcessState); code != 4 || !bytes.Contains(out, []byte("holds")) {
		t.Errorf("exit code %d, want 4 and who holds the file:\n%s", code, out)
	}
}

func TestStartupCheckExitCodes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "r.ndjson")
	damaged := []byte(event(1) + "\n" + event(2)[:40] + "\n" + event(3) + "\n")
	if err := os.WriteFile(path, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--listen", "127.0.0.1:0", "--backend", "json:" + path, "--startup-check"}
	cmd := command(dir, append(args, "fail_on_anomaly")...)
	out, _ := cmd.CombinedOutput()
	if code := exitCode(cmd.ProcessState); code != 1 || !bytes.Contains(out, []byte("papyra-ctl")) {
		t.Errorf("exit code %d, want 1 and what to do:\n%s", code, out)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, damaged) {
		t.Errorf("the refused start changed the file: %v", err)
	}
	p := start(t, dir, append(args, "recover")...)
	p.signal(syscall.SIGINT)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d after SIGINT", code)
	}
	if got, want := strings.Join(records(t, path), ""), event(1)+"\n"+event(3)+"\n"; got != want {
		t.Errorf("after the recovery %q, want %q", got, want)
	}
	raw, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(raw, []byte(papyra.ReportCorruptionDetected)) {
		t.Errorf("no CorruptionDetected in the store: %v", err)
	}
}

// One of two processes of a group gets SIGTERM in a flood; together they hold
// every record once.
func TestSIGTERMInAFloodLosesNothing(t *testing.T) {
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	dir := t.TempDir()
	var workers []*process
	for _, name := range []string{"a", "b"} {
		workers = append(workers, start(t, dir, "--server", b.URL(), "--instance", name, "--backend", "json:"+name+".ndjson"))
	}
	const messages, each = 3000, 10
	nc := dial(t, b.URL())
	n := 0
	for i := range messages {
		var data strings.Builder
		for range each {
			n++
			data.WriteString(event(n) + "\n")
		}
		send(t, nc, data.String())
		if i == messages/3 {
			workers[0].signal(syscall.SIGTERM)
		}
	}
	flush(t, nc)
	for i, w := range workers {
		if i > 0 {
			w.signal(syscall.SIGTERM)
		}
		if code := w.exit(); code != 0 {
			t.Errorf("worker %d: exit code %d", i, code)
		}
	}
	seen := map[string]int{}
	for _, name := range []string{"a", "b"} {
		lines := records(t, filepath.Join(dir, name+".ndjson"))
		t.Logf("worker %s holds %d records", name, len(lines))
		for _, l := range lines {
			seen[l]++
		}
	}
	for i := range n {
		if l := event(i+1) + "\n"; seen[l] != 1 {
			t.Fatalf("record %d is stored %d times", i+1, seen[l])
		}
	}
}

// After kill -9 the next start heals the end of the file and merges nothing.
func TestKillInAFloodLeavesNothingButATornLine(t *testing.T) {
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, "r.ndjson")
	args := []string{"--server", b.URL(), "--backend", "json:" + path}
	nc := dial(t, b.URL())
	n := 0
	for round := range 4 {
		p := start(t, dir, args...)
		size := int64(0)
		if info, err := os.Stat(path); err == nil {
			size = info.Size()
		}
		for deadline := time.Now().Add(patience); ; {
			for range 50 {
				n++
				send(t, nc, event(n)+"\n"+event(n))
			}
			if info, err := os.Stat(path); err == nil && info.Size() > size+int64(20_000*(round+1)) {
				break // in the middle of the stream
			}
			if time.Now().After(deadline) {
				t.Fatal("nothing is stored")
			}
		}
		p.signal(syscall.SIGKILL)
		if code := p.exit(); code != -int(syscall.SIGKILL) {
			t.Fatalf("exit code %d", code)
		}
		flush(t, nc)
	}
	p := start(t, dir, args...)
	send(t, nc, event(0))
	flush(t, nc)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	store, err := backend.Open("json:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	report, err := store.Scan(t.Context(), papyra.ScanOptions{Full: true})
	if err != nil {
		t.Fatal(err)
	}
	var damaged int64
	for class, count := range report.AnomalyCounts {
		damaged += count
		if class != papyra.ClassTruncated {
			t.Errorf("%d of %s: a kill can only tear a line", count, class)
		}
	}
	if damaged > 4 {
		t.Errorf("%d torn lines after four kills", damaged)
	}
	lines := records(t, path)
	if got := lines[len(lines)-1]; got != event(0)+"\n" {
		t.Errorf("the last line is %q", got)
	}
	for i, l := range lines {
		if strings.Count(l, `{"kind"`) != 1 {
			t.Fatalf("line %d is merged: %q", i, l)
		}
	}
}

// A stderr that is closed, or that nobody reads, stops nothing.
func TestStderrThatIsClosedOrStuck(t *testing.T) {
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, stuck := range []bool{false, true} {
		t.Run(fmt.Sprintf("stuck=%v", stuck), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "r.ndjson")
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if stuck {
				// A pipe that is full: the first line of log blocks its writer.
				if err := w.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
					t.Fatal(err)
				}
				if _, err := w.Write(make([]byte, 1<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("fill the pipe: %v", err)
				}
			} else {
				r.Close()
			}
			cmd := command(dir, "--server", b.URL(), "--backend", "json:"+path)
			cmd.Stderr = w
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			w.Close()
			defer func() { _ = cmd.Process.Kill() }()
			nc := dial(t, b.URL())
			for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
				send(t, nc, event(1)+"\nnonsense")
				if raw, err := os.ReadFile(path); err == nil && bytes.Contains(raw, []byte(event(1))) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("nothing is stored")
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := exitCode(cmd.ProcessState); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// A file that may not grow, like a full disk: the sink keeps what it cannot
// store, leaves no partial line, and goes on by itself when there is room.
func TestFileSizeLimitIsWaitedOut(t *testing.T) {
	b, err := broker.Start(broker.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	dir := t.TempDir()
	p := start(t, dir, "--server", b.URL(), "--backend", "json:r.ndjson")
	nc := dial(t, b.URL())
	var old unix.Rlimit
	limit := unix.Rlimit{Cur: 20_000, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, &old); err != nil {
		t.Skipf("the limit of another process cannot be set here: %v", err)
	}
	const n = 1000
	for i := range n {
		send(t, nc, event(i))
	}
	flush(t, nc)
	await := func(what string) {
		t.Helper()
		for deadline := time.Now().Add(patience); !strings.Contains(p.text(), what); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the log does not say %q", what)
			}
		}
	}
	await("the store takes no records")
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &old, nil); err != nil {
		t.Fatal(err)
	}
	await("the store takes records again")
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	lines := records(t, filepath.Join(dir, "r.ndjson"))
	if len(lines) != n {
		t.Fatalf("%d records are stored, want %d", len(lines), n)
	}
	for i, l := range lines {
		if l != event(i)+"\n" {
			t.Fatalf("line %d is %q", i, l)
		}
	}
}

// A stop that takes its time is cut short by a second signal.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	url := silentServer(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		p := start(t, t.TempDir(), "--server", url, "--backend", "json:r.ndjson")
		p.signal(sig)
		for deadline := time.Now().Add(patience); !strings.Contains(p.text(), `"stopping"`); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the first signal does not stop it")
			}
		}
		p.signal(sig)
		if code := p.exit(); code != 128+int(sig) {
			t.Errorf("exit code %d after two %v, want %d", code, sig, 128+int(sig))
		}
	}
}

// silentServer speaks as much NATS as a start needs and then says nothing, as a
// server does that was stopped: the drain waits for it.
func silentServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprintf(conn, "INFO {\"server_id\":\"x\",\"version\":\"2.10.0\",\"proto\":1,\"max_payload\":1048576,\"headers\":true}\r\n")
				pings := 0
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					// One for the connection, one for the subscription.
					if pings < 2 && strings.TrimSpace(lines.Text()) == "PING" {
						pings++
						fmt.Fprint(conn, "PONG\r\n")
					}
				}
			}()
		}
	}()
	return "nats://" + l.Addr().String()
}
