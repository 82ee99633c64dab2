package version_test

import (
	"fmt"

	"github.com/papyra/papyra/internal/version"
)

func ExampleInfo() {
	i := version.Info{Number: "0.1.0", Commit: "2a3924758f0c6c4be3a1d6f9a9b0c1d2e3f40516", Date: "2026-11-26T16:49:08Z"}
	fmt.Println(i)
	fmt.Println(i.Label())
	// Output:
	// 0.1.0 (commit 2a3924758f0c of 2026-11-26T16:49:08Z)
	// 0.1.0+2a3924758f0c
}
