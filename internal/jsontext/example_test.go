package jsontext_test

import (
	"fmt"

	"github.com/papyra/papyra/internal/jsontext"
)

// A text is written and then checked.
func Example() {
	const maxBytes, maxDepth = 1024, 8
	var w jsontext.Writer
	w.Reset(maxBytes, maxDepth, 0)
	w.OpenObject()
	w.WriteName("amount", true)
	w.WriteValue(12.5)
	w.WriteName("tags", false)
	w.WriteValue([]string{"a", "b"})
	w.CloseObject()
	if err := w.Err(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", w.Buf)

	s := jsontext.Scanner{Text: w.Buf[:10]} // a part of it
	if s.ScanValue(0, maxDepth) < 0 {
		fmt.Printf("at byte %d: %s\n", s.Pos, s.Detail)
	}
	// Output:
	// {"amount":12.5,"tags":["a","b"]}
	// at byte 10: ends where a value should follow
}
