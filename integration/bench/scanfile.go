package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// recordsFile is a file of records.
type recordsFile struct {
	path    string
	bytes   int64
	records int
	sealed  int // of records
}

// recordsWriter writes one.
type recordsWriter struct {
	recordsFile
	file *os.File
	out  *bufio.Writer
}

// recordsWriters are several that are written together.
type recordsWriters []*recordsWriter

func createRecords(dir string, names ...string) (recordsWriters, error) {
	var all recordsWriters
	for _, name := range names {
		path := filepath.Join(dir, name)
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make file: %w", err), all.close())
		}
		all = append(all, &recordsWriter{recordsFile{path: path}, file, bufio.NewWriterSize(file, 1<<20)})
	}
	return all, nil
}

// add writes a line with its newline.
func (w *recordsWriter) add(line []byte, sealed bool) error {
	w.bytes += int64(len(line))
	w.records++
	if sealed {
		w.sealed++
	}
	_, err := w.out.Write(line)
	return err
}

func (all recordsWriters) close() error {
	var errs []error
	for _, w := range all {
		errs = append(errs, w.out.Flush(), w.file.Close())
	}
	return errors.Join(errs...)
}

// respell appends a sealed line as another program would write the record:
// without a seal, and with a space behind each comma and colon.
func respell(dst, line []byte) ([]byte, error) {
	end := bytes.LastIndex(line, []byte(`,"node":`))
	if end < 0 {
		return nil, fmt.Errorf("no seal in %q", line)
	}
	inString, escaped := false, false
	for _, c := range line[:end] {
		dst = append(dst, c)
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = inString
		case c == '"':
			inString = !inString
		case !inString && (c == ',' || c == ':'):
			dst = append(dst, ' ')
		}
	}
	return append(dst, "}\n"...), nil
}
