package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// scans is what the measurements of a scan share.
type scans struct {
	ctx      context.Context
	ctl      string // the built papyra-ctl
	sealed   recordsFile
	unsealed recordsFile
	sample   recordsFile // the beginning of sealed, for a slow tool
	copy     string      // the file that cp makes of sealed
}

// scanRow is one row of the table of scans.
type scanRow struct {
	name    string
	program string // must be installed; "" is papyra-ctl
	args    []string
	file    recordsFile
	// check checks what the program printed. If it is nil, that goes to /dev/null.
	check func(out []byte) error
	// makes is a file that the program makes. It is removed after each round.
	makes string
}

// scanRows returns the rows of the table, in the order of a round. The others are
// compared with the first.
func (s *scans) scanRows() []scanRow {
	return []scanRow{
		{name: "wc -l", program: "wc", args: []string{"-l", s.sealed.path}, file: s.sealed, check: s.checkCount},
		{name: "cat > /dev/null", program: "cat", args: []string{s.sealed.path}, file: s.sealed},
		{name: "cp", program: "cp", args: []string{s.sealed.path, s.copy}, file: s.sealed, makes: s.copy},
		{name: "papyra-ctl scan", args: s.scanArgs(s.sealed), file: s.sealed, check: s.checkClean(s.sealed)},
		{name: "papyra-ctl scan --full", args: append(s.scanArgs(s.sealed), "--full"), file: s.sealed, check: s.checkClean(s.sealed)},
		{name: "papyra-ctl scan, unsealed lines of another's spelling", args: s.scanArgs(s.unsealed), file: s.unsealed, check: s.checkClean(s.unsealed)},
		{name: "jq -c . > /dev/null", program: "jq", args: []string{"-c", ".", s.sample.path}, file: s.sample},
	}
}

func (s *scans) scanArgs(f recordsFile) []string {
	return []string{"scan", "--output", "json", "--backend", "json:" + f.path}
}

// checkCount returns an error unless wc has read the whole file.
func (s *scans) checkCount(out []byte) error {
	if n, _, _ := strings.Cut(strings.TrimSpace(string(out)), " "); n != strconv.Itoa(s.sealed.records) {
		return fmt.Errorf("it counts %s lines of %d", n, s.sealed.records)
	}
	return nil
}

// checkClean returns a check that a scan has found every record of a file and no
// damage.
func (s *scans) checkClean(f recordsFile) func(out []byte) error {
	return func(out []byte) error {
		var r struct {
			Clean           bool
			Records, Sealed int
		}
		if err := json.Unmarshal(out, &r); err != nil {
			return fmt.Errorf("read result: %w", err)
		}
		if want := f.sealed; !r.Clean || r.Records != f.records || r.Sealed != want {
			return fmt.Errorf("clean %v, %d records, %d sealed; want true, %d and %d", r.Clean, r.Records, r.Sealed, f.records, want)
		}
		return nil
	}
}

// measureScans makes the files, runs the rounds and prints the table.
func measureScans(ctx context.Context, c config, out io.Writer) error {
	work, err := os.MkdirTemp(c.dir, "papyra-bench-")
	if err != nil {
		return fmt.Errorf("make work directory: %w", err)
	}
	defer os.RemoveAll(work)
	s := &scans{ctx: ctx, copy: filepath.Join(work, "copy.ndjson")}
	if s.ctl, err = buildProgram(ctx, work, "papyra-ctl"); err != nil {
		return err
	}
	showProgress("writing %d MiB of records, twice", c.scan)
	defer showProgress("")
	if err := s.writeFiles(work, int64(c.scan)<<20); err != nil {
		return err
	}
	var rows []scanRow
	for i, r := range s.scanRows() {
		if _, err := exec.LookPath(r.program); r.program != "" && err != nil {
			if i == 0 {
				return fmt.Errorf("find what the others are compared with: %w", err)
			}
			showProgress("")
			fmt.Fprintf(out, "Left out: %s is not installed.\n", r.program)
			continue
		}
		rows = append(rows, r)
	}
	uses := make([][]usage, len(rows))
	for round := range c.rounds {
		for i, r := range rows {
			showProgress("round %d of %d: %s", round+1, c.rounds, r.name)
			u, err := s.runRow(r)
			if err != nil {
				return fmt.Errorf("measure %q: %w", r.name, err)
			}
			uses[i] = append(uses[i], u)
		}
	}
	showProgress("")
	s.printScans(out, c, rows, uses)
	return nil
}

// runRow runs a row's program once.
func (s *scans) runRow(r scanRow) (usage, error) {
	program := s.ctl
	if r.program != "" {
		program = r.program
	}
	role := roleMeter
	if r.check == nil {
		role = roleMeterQuiet
	}
	if r.makes != "" {
		defer os.Remove(r.makes)
	}
	u, err := meterProgram(s.ctx, role, append([]string{program}, r.args...)...)
	if err != nil || r.check == nil {
		return u, err
	}
	return u, r.check(u.Output)
}

// printScans prints medians. "GB/s by core" is the bytes by the processor time of
// all threads.
func (s *scans) printScans(out io.Writer, c config, rows []scanRow, uses [][]usage) {
	fmt.Fprintf(out, "Scan of a file of %d records, %d MiB, that lies in the page cache. Medians of %d rounds.\n",
		s.sealed.records, s.sealed.bytes>>20, c.rounds)
	if s.sample.bytes < s.sealed.bytes {
		fmt.Fprintf(out, "jq reads its first %d MiB; its rate and time are scaled to them.\n", s.sample.bytes>>20)
	}
	fmt.Fprintln(out)
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "GB/s\tlowest\thighest\ttime of wc -l\tGB/s by core\tpeak MiB\t ")
	var floor float64
	for i, r := range rows {
		rates := ratesIn(r.file.bytes, uses[i], func(u usage) time.Duration { return u.Took })
		cores := ratesIn(r.file.bytes, uses[i], func(u usage) time.Duration { return u.CPU })
		median := rates[len(rates)/2]
		if i == 0 {
			floor = median
		}
		peak := "" // a small program's peak would be that of the meter
		if r.program == "" {
			most := slices.MaxFunc(uses[i], func(a, b usage) int { return cmp.Compare(a.PeakKiB, b.PeakKiB) })
			peak = strconv.FormatInt((most.PeakKiB+512)>>10, 10)
		}
		fmt.Fprintf(t, "%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t   %s\n",
			median, rates[0], rates[len(rates)-1], floor/median, cores[len(cores)/2], peak, r.name)
	}
	t.Flush() //nolint:errcheck // an error of standard output cannot be told anybody
}

// ratesIn returns bytes by time in GB/s, in ascending order.
func ratesIn(bytes int64, uses []usage, of func(usage) time.Duration) []float64 {
	var out []float64
	for _, u := range uses {
		out = append(out, float64(bytes)/max(of(u), time.Microsecond).Seconds()/1e9)
	}
	slices.Sort(out)
	return out
}

// usage is what a program used.
type usage struct {
	Took    time.Duration
	CPU     time.Duration // of all its threads, in user and system
	PeakKiB int64         // of memory that was resident
	Output  []byte
}

// meterProgram runs a program as the child of another process of the bench, the
// meter, which is small. The peak of a new process begins with the peak of the one
// that starts it. So the peak that is shown is never too low, and it is too high
// only where the program needs less than the 15 MiB of the meter.
func meterProgram(ctx context.Context, role string, args ...string) (u usage, err error) {
	self, err := os.Executable()
	if err != nil {
		return u, fmt.Errorf("find own executable: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return u, fmt.Errorf("run %s: %w", filepath.Base(args[0]), err)
	}
	if err := json.Unmarshal(out, &u); err != nil {
		return u, fmt.Errorf("read what %s used: %w", filepath.Base(args[0]), err)
	}
	return u, nil
}

// buildProgram compiles one of this module's programs into dir.
func buildProgram(ctx context.Context, dir, name string) (string, error) {
	program := filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/papyra/papyra/cmd/"+name)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return program, nil
}

// maxSample bounds the bytes that a slow tool is given to read.
const maxSample = 32 << 20

// writeFiles makes the three files.
func (s *scans) writeFiles(dir string, size int64) error {
	f, err := createRecords(dir, "sealed.ndjson", "unsealed.ndjson", "sample.ndjson")
	if err != nil {
		return err
	}
	if err = errors.Join(s.fillFiles(f, size), f.closeAll()); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	s.sealed, s.unsealed, s.sample = f[0].recordsFile, f[1].recordsFile, f[2].recordsFile
	return nil
}

// fillFiles writes records until each file has its size.
func (s *scans) fillFiles(f recordsWriters, size int64) error {
	var spaced []byte
	return eachSealed(s.ctx, func(line []byte) (more bool, err error) {
		if f[0].bytes < size {
			if err := f[0].addLine(line, true); err != nil {
				return false, err
			}
		}
		if f[2].bytes < min(size, maxSample) {
			if err := f[2].addLine(line, true); err != nil {
				return false, err
			}
		}
		if spaced, err = respell(spaced[:0], line); err != nil {
			return false, err
		}
		err = f[1].addLine(spaced, false)
		return f[1].bytes < size, err // its lines are the shortest
	})
}
