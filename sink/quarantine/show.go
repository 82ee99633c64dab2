package quarantine

import (
	"context"
	"io"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/terminal"
)

// excerptBytes is how much of a piece is shown.
const excerptBytes = 120

// Shown is what an act holds.
type Shown struct {
	Act    string  `json:"act"`
	Found  int64   `json:"found"`  // pieces
	Pieces []Piece `json:"pieces"` // the first of them
}

// Piece is a piece and its beginning. Bytes that are no visible text are written as
// escapes, so that none of them reaches a terminal as it is.
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
		s.Pieces = append(s.Pieces, Piece{*p, terminal.Escape(string(b))})
		return err
	})
	return s, err
}
