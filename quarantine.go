package papyra

import (
	"context"
	"io"
)

// QuarantineReader is a store that shows what its recoveries have moved away. All
// stores of this module are. What it shows it never changes; package sink/quarantine
// puts records back.
//
// dir is where the acts lie, as in RecoverOptions.QuarantineDir: empty means the
// store's own place. A store without directories: ErrUsage.
type QuarantineReader interface {
	// QuarantineActs returns the acts, in the order of their names, which is that of
	// time. None is no error.
	QuarantineActs(ctx context.Context, dir string) ([]QuarantineAct, error)

	// QuarantinePieces calls yield with each piece of an act, in the order in which the
	// recovery moved them, until it returns an error, which is returned as it is. A
	// piece and its content are valid during the call, and the content was compared
	// with the checksum that the recovery wrote down, where it wrote one: a piece that
	// differs ends the visit with ErrIncomplete. An act that is not there, or that is
	// not complete, since its recovery was interrupted: ErrNotFound.
	QuarantinePieces(ctx context.Context, dir, act string, yield func(*QuarantinePiece) error) error
}

// QuarantineAct is what one recovery has moved away.
type QuarantineAct struct {
	ID    string `json:"id"`    // of the recovery
	Place string `json:"place"` // the directory as text, or the stream
	// Complete says that the recovery brought everything here that it wanted to move.
	// Of another one each byte is still in the store, or in a later act.
	Complete bool            `json:"complete"`
	Pieces   int64           `json:"pieces"`
	Bytes    int64           `json:"bytes"`
	Counts   map[Class]int64 `json:"counts"` // pieces by class
}

// QuarantinePiece is one damaged place. Its Anomaly says where the recovery found it;
// Length is that of the content.
type QuarantinePiece struct {
	Anomaly
	// Foreign says that a record stood where none of its stream may stand. Nobody can
	// tell who put it there, so that it is not put back.
	Foreign bool      `json:"foreign,omitempty"`
	Content io.Reader `json:"-"`
}
