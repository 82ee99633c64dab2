package testrecord

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Saved is one line of the index of a file backend's quarantine act, with the
// bytes that it is about.
type Saved struct {
	File             string `json:"file"`
	Offset           int64  `json:"offset"`
	Length           int64  `json:"length"`
	Class            string `json:"class"`
	SHA256           string `json:"sha256"`
	InsertedNewlines int    `json:"inserted_newlines"`
	Time             string `json:"time"`

	Bytes []byte `json:"-"`
}

// ReadAct reads a complete quarantine act.
func ReadAct(dir string) ([]Saved, error) {
	all, err := os.ReadFile(filepath.Join(dir, "bytes"))
	if err != nil {
		return nil, err
	}
	index, err := os.ReadFile(filepath.Join(dir, "index.ndjson"))
	if err != nil {
		return nil, err
	}
	var out []Saved
	for line := range bytes.Lines(index) {
		var s Saved
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&s); err != nil {
			return nil, fmt.Errorf("index line %q: %w", line, err)
		}
		if s.Length > int64(len(all)) {
			return nil, fmt.Errorf("index line %q: only %d bytes are left", line, len(all))
		}
		s.Bytes, all = all[:s.Length], all[s.Length:]
		out = append(out, s)
	}
	if len(all) > 0 {
		return nil, fmt.Errorf("%d bytes belong to no line of the index", len(all))
	}
	return out, nil
}

// SavedLines returns what a complete quarantine act has moved away, in the order of its
// index, each piece without the newline at its end.
func SavedLines(dir string) ([][]byte, error) {
	saved, err := ReadAct(dir)
	if err != nil {
		return nil, err
	}
	var lines [][]byte
	for _, s := range saved {
		lines = append(lines, bytes.TrimSuffix(s.Bytes, []byte("\n")))
	}
	return lines, nil
}

// Undo puts the quarantined bytes of one file back where they were, takes the
// inserted newlines out, and returns the first size bytes of the result: with
// the original's size it is the original, if the recovery has conserved it.
func Undo(recovered []byte, saved []Saved, file string, size int64) ([]byte, error) {
	var out []byte
	for _, s := range saved {
		if s.File != file {
			continue
		}
		n := s.Offset - int64(len(out))
		if n < 0 || n > int64(len(recovered)) {
			return nil, fmt.Errorf("place at offset %d cannot follow %d bytes of %d", s.Offset, len(out), len(recovered))
		}
		out = append(out, recovered[:n]...)
		recovered = recovered[n:]
		out = append(out, s.Bytes...)
		for range s.InsertedNewlines {
			if len(recovered) == 0 || recovered[0] != '\n' {
				return nil, fmt.Errorf("no inserted newline at offset %d", s.Offset)
			}
			recovered = recovered[1:]
		}
	}
	out = append(out, recovered...)
	if int64(len(out)) < size {
		return nil, fmt.Errorf("only %d bytes of %d", len(out), size)
	}
	return out[:size], nil
}
