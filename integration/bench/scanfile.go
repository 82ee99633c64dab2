package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/papyra/papyra"
)

// recordsFile is a file of records.
type recordsFile struct {
	path    string
	bytes   int64
	records int
	sealed  int // so many of the records are sealed
}

// recordsWriter writes a file of records.
type recordsWriter struct {
	recordsFile
	file *os.File
	out  *bufio.Writer
}

// recordsWriters are several files that are written together.
type recordsWriters []*recordsWriter

// createRecords makes empty files in dir.
func createRecords(dir string, names ...string) (recordsWriters, error) {
	var all recordsWriters
	for _, name := range names {
		path := filepath.Join(dir, name)
		file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make file: %w", err), all.closeAll())
		}
		all = append(all, &recordsWriter{recordsFile{path: path}, file, bufio.NewWriterSize(file, 1<<20)})
	}
	return all, nil
}

// addLine writes a line, which has its newline.
func (w *recordsWriter) addLine(line []byte, sealed bool) error {
	w.bytes += int64(len(line))
	w.records++
	if sealed {
		w.sealed++
	}
	_, err := w.out.Write(line)
	return err
}

// closeAll writes out what is buffered and closes the files.
func (all recordsWriters) closeAll() error {
	var errs []error
	for _, w := range all {
		errs = append(errs, w.out.Flush(), w.file.Close())
	}
	return errors.Join(errs...)
}

// eachSealed makes sealed lines, each with its newline, and calls yield with them
// until it wants no more.
func eachSealed(ctx context.Context, yield func(line []byte) (more bool, err error)) error {
	id, err := papyra.NewIdentityRun(benchNode, clientRun)
	if err != nil {
		return err
	}
	var e papyra.Encoder
	var line []byte
	for n := 0; ; n++ {
		ev, fields := nthEvent(n)
		if err := e.Event(id, benchSystem, &ev, fields[:], moment); err != nil {
			return err
		}
		line = e.AppendLine(line[:0], uint64(n+1))
		if more, err := yield(line); err != nil || !more {
			return err
		}
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// fillSealed writes sealed records into the first file until it has its size, and
// closes all.
func fillSealed(ctx context.Context, f recordsWriters, size int64) (recordsFile, error) {
	err := eachSealed(ctx, func(line []byte) (bool, error) {
		err := f[0].addLine(line, true)
		return f[0].bytes < size, err
	})
	if err = errors.Join(err, f.closeAll()); err != nil {
		return recordsFile{}, fmt.Errorf("write records: %w", err)
	}
	return f[0].recordsFile, nil
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
