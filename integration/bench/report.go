package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// printMachine prints what the numbers depend on: machine, versions, file system.
func printMachine(w io.Writer, c config) {
	fmt.Fprintf(w, "%s, %d cores, Linux %s, %s, %s\n", cpuModel(), runtime.NumCPU(), kernel(), runtime.Version(),
		time.Now().UTC().Format("2006-01-02"))
	fmt.Fprintf(w, "Files in %s (%s).\n", c.dir, fileSystem(c.dir))
}

// printPipeline prints what the table of the pipeline is about.
func printPipeline(w io.Writer, c config) {
	fmt.Fprintf(w, "Medians of %d rounds; %d records in one-record messages, %d in batches.\n", c.rounds, c.single, c.batched)
	fmt.Fprintln(w, "Generator, NATS server and receiver are processes of their own on these cores.")
	fmt.Fprintln(w)
}

// printTable prints medians, and the share that a pipeline reaches of its floor.
func printTable(w io.Writer, rows []measurement, samples [][]sample) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "records/s\tlowest\thighest\tMB/s\tof the floor\t ")
	for i, row := range rows {
		rates := ratesOf(samples[i])
		median := rates[len(rates)/2]
		share := "floor"
		if row.floor != i {
			floor := ratesOf(samples[row.floor])
			share = fmt.Sprintf("%.2f", median/floor[len(floor)/2])
		}
		s := samples[i][0]
		fmt.Fprintf(t, "%s\t%s\t%s\t%.0f\t%s\t   %s\n", thousands(median), thousands(rates[0]), thousands(rates[len(rates)-1]),
			median*float64(s.bytes)/float64(s.records)/1e6, share, row.name)
	}
	t.Flush() //nolint:errcheck // an error of standard output cannot be told anybody
}

// ratesOf returns the records a second of each round, in ascending order.
func ratesOf(samples []sample) []float64 {
	var rates []float64
	for _, s := range samples {
		rates = append(rates, float64(s.records)/s.took.Seconds())
	}
	slices.Sort(rates)
	return rates
}

// thousands writes a rate with separators.
func thousands(rate float64) string {
	s := fmt.Sprintf("%.0f", rate)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// showProgress shows what is going on, on a terminal only. "" removes the text.
func showProgress(format string, args ...any) {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		fmt.Fprintf(os.Stderr, "\r\x1b[K"+format, args...)
	}
}

// cpuModel returns the name of the processor, or its architecture.
func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return runtime.GOARCH
}

// kernel returns the release of the kernel.
func kernel() string {
	data, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(data))
}

// fileSystem returns the name of a directory's file system.
func fileSystem(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "unknown file system"
	}
	switch s.Type {
	case 0x01021994:
		return "tmpfs"
	case 0xEF53:
		return "ext4"
	case 0x794c7630:
		return "overlayfs"
	case 0x58465342:
		return "xfs"
	case 0x9123683E:
		return "btrfs"
	}
	return fmt.Sprintf("file system type %#x", s.Type)
}
