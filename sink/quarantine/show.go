package quarantine

import (
	"context"
	"fmt"
	"io"

	"github.com/papyra/papyra"
)

// excerptBytes is how much of a piece is shown.
const excerptBytes = 120

// Shown is what an act holds.
type Shown struct {
	Act    string  `json:"act"`
	Found  int64   `json:"found"`  // pieces
	Pieces []Piece `json:"pieces"` // the first of them
}

// Piece is a piece and its beginning, written as in a string of Go, so that nothing of
// it reaches a terminal as it is.
type Piece struct {
	papyra.QuarantinePiece
	Excerpt string `json:"excerpt"`
}

// Show returns the first pieces of an act, at most limit of them; 0 means all.
func Show(ctx context.Context, store papyra.QuarantineReader, dir, act string, limit int64) (*Shown, error) {
	s := &Shown{Act: act, Pieces: []Piece{}}
	err := store.QuarantinePieces(ctx, dir, act, func(p *papyra.QuarantinePiece) error {
		if s.Found++; limit > 0 && s.Found > limit {
			return nil
		}
		b, err := io.ReadAll(io.LimitReader(p.Content, excerptBytes))
		text := fmt.Sprintf("%+q", b)
		s.Pieces = append(s.Pieces, Piece{*p, text[1 : len(text)-1]})
		return err
	})
	return s, err
}
