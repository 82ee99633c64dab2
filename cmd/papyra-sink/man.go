//go:build manual

// With this tag the program writes its manual page, and nothing else.
package main

import (
	"os"

	"github.com/papyra/papyra/cmd/internal/manual"
)

func main() { manual.Main(newApp(os.Stderr)) }
