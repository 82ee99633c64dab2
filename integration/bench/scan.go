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
	sample   recordsFile // the beginning of sealed, for slow tools
	copy     string      // where cp copies sealed to
}

// reading is one row of the table of scans.
type reading struct {
	name    string
	program string // what must be there; "" is papyra-ctl
	args    []string
	file    recordsFile
	// check looks at what the program printed; nil throws that away unseen.
	check func(out []byte) error
	// makes is a file that the program makes, removed after each round.
	makes string
}

// readings are the rows of the table, in the order of a round. The first is what
// the others are compared with.
func (s *scans) readings() []reading {
	return []reading{
		{name: "wc -l", program: "wc", args: []string{"-l", s.sealed.path}, file: s.sealed, check: s.counted},
		{name: "cat > /dev/null", program: "cat", args: []string{s.sealed.path}, file: s.sealed},
		{name: "cp", program: "cp", args: []string{s.sealed.path, s.copy}, file: s.sealed, makes: s.copy},
		{name: "papyra-ctl scan", args: s.scan(s.sealed), file: s.sealed, check: s.clean(s.sealed)},
		{name: "papyra-ctl scan --full", args: append(s.scan(s.sealed), "--full"), file: s.sealed, check: s.clean(s.sealed)},
		{name: "papyra-ctl scan, unsealed lines of another's spelling", args: s.scan(s.unsealed), file: s.unsealed, check: s.clean(s.unsealed)},
		{name: "jq -c . > /dev/null", program: "jq", args: []string{"-c", ".", s.sample.path}, file: s.sample},
	}
}

func (s *scans) scan(f recordsFile) []string {
	return []string{"scan", "--output", "json", "--backend", "json:" + f.path}
}

// counted makes sure that wc has read the whole file.
func (s *scans) counted(out []byte) error {
	if n, _, _ := strings.Cut(strings.TrimSpace(string(out)), " "); n != strconv.Itoa(s.sealed.records) {
		return fmt.Errorf("it counts %s lines of %d", n, s.sealed.records)
	}
	return nil
}

// clean makes sure that a scan has found every record of a file and no damage.
func (s *scans) clean(f recordsFile) func(out []byte) error {
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

// measureScans runs the rounds and prints the table.
func measureScans(ctx context.Context, c config, out io.Writer) error {
	work, err := os.MkdirTemp(c.dir, "papyra-bench-")
	if err != nil {
		return fmt.Errorf("make work directory: %w", err)
	}
	defer os.RemoveAll(work)
	s := &scans{ctx: ctx, copy: filepath.Join(work, "copy.ndjson")}
	if s.ctl, err = build(ctx, work, "papyra-ctl"); err != nil {
		return err
	}
	progress("writing %d MiB of records, twice", c.scan)
	defer progress("")
	if err := s.write(work, int64(c.scan)<<20); err != nil {
		return err
	}
	var rows []reading
	for i, r := range s.readings() {
		if _, err := exec.LookPath(r.program); r.program != "" && err != nil {
			if i == 0 {
				return fmt.Errorf("find what the others are compared with: %w", err)
			}
			progress("")
			fmt.Fprintf(out, "Left out: %s is not installed.\n", r.program)
			continue
		}
		rows = append(rows, r)
	}
	uses := make([][]use, len(rows))
	for round := range c.rounds {
		for i, r := range rows {
			progress("round %d of %d: %s", round+1, c.rounds, r.name)
			u, err := s.read(r)
			if err != nil {
				return fmt.Errorf("measure %q: %w", r.name, err)
			}
			uses[i] = append(uses[i], u)
		}
	}
	progress("")
	s.print(out, c, rows, uses)
	return nil
}

// read runs a row's program once.
func (s *scans) read(r reading) (use, error) {
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
	u, err := meter(s.ctx, role, append([]string{program}, r.args...)...)
	if err != nil || r.check == nil {
		return u, err
	}
	return u, r.check(u.Output)
}

// print shows medians. A program's share of the cores is in its rate by core.
func (s *scans) print(out io.Writer, c config, rows []reading, uses [][]use) {
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
		rates := quotients(r.file.bytes, uses[i], func(u use) time.Duration { return u.Took })
		cores := quotients(r.file.bytes, uses[i], func(u use) time.Duration { return u.CPU })
		median := rates[len(rates)/2]
		if i == 0 {
			floor = median
		}
		peak := "" // of the small ones the meter's own would be shown
		if r.program == "" {
			most := slices.MaxFunc(uses[i], func(a, b use) int { return cmp.Compare(a.PeakKiB, b.PeakKiB) })
			peak = strconv.FormatInt((most.PeakKiB+512)>>10, 10)
		}
		fmt.Fprintf(t, "%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%s\t   %s\n",
			median, rates[0], rates[len(rates)-1], floor/median, cores[len(cores)/2], peak, r.name)
	}
	t.Flush() //nolint:errcheck // standard output; nobody is left to tell
}

// quotients returns bytes by time in GB/s, ascending.
func quotients(bytes int64, uses []use, of func(use) time.Duration) []float64 {
	var out []float64
	for _, u := range uses {
		out = append(out, float64(bytes)/max(of(u), time.Microsecond).Seconds()/1e9)
	}
	slices.Sort(out)
	return out
}

// use is what a program used.
type use struct {
	Took    time.Duration
	CPU     time.Duration // of all its threads, in user and system
	PeakKiB int64         // of memory that was resident
	Output  []byte
}

// meter runs a program below a process of the bench that is small: the peak of a
// new process begins with that of the one that starts it, so that what is shown
// is never too little, and too much by no more than the 15 MiB of the meter.
func meter(ctx context.Context, role string, args ...string) (u use, err error) {
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

// build compiles one of this module's programs into dir.
func build(ctx context.Context, dir, name string) (string, error) {
	program := filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/papyra/papyra/cmd/"+name)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return program, nil
}

// maxSample is how much a slow tool is given to read.
const maxSample = 32 << 20

// write makes the three files.
func (s *scans) write(dir string, size int64) error {
	f, err := createRecords(dir, "sealed.ndjson", "unsealed.ndjson", "sample.ndjson")
	if err != nil {
		return err
	}
	if err = errors.Join(s.fill(f, size), f.close()); err != nil {
		return fmt.Errorf("write records: %w", err)
	}
	s.sealed, s.unsealed, s.sample = f[0].recordsFile, f[1].recordsFile, f[2].recordsFile
	return nil
}

// fill writes records until each file has its size.
func (s *scans) fill(f recordsWriters, size int64) error {
	var spaced []byte
	return eachSealed(s.ctx, func(line []byte) (more bool, err error) {
		if f[0].bytes < size {
			if err := f[0].add(line, true); err != nil {
				return false, err
			}
		}
		if f[2].bytes < min(size, maxSample) {
			if err := f[2].add(line, true); err != nil {
				return false, err
			}
		}
		if spaced, err = respell(spaced[:0], line); err != nil {
			return false, err
		}
		err = f[1].add(spaced, false)
		return f[1].bytes < size, err // its lines are the shortest
	})
}
