// Command sbom writes which modules are inside of a program, as CycloneDX in
// JSON. The same program gives the same bytes.
//
//	sbom VERSION DATE PROGRAM > PROGRAM.cdx.json
package main

import (
	"fmt"
	"os"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/CycloneDX/cyclonedx-gomod/pkg/generate/bin"
	"github.com/rs/zerolog"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: sbom VERSION DATE PROGRAM")
		os.Exit(64)
	}
	if err := write(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintf(os.Stderr, "sbom: %s: %v\n", os.Args[3], err)
		os.Exit(1)
	}
}

func write(version, date, program string) error {
	g, err := bin.NewGenerator(program, bin.WithVersionOverride(version), bin.WithIncludeStdlib(true),
		bin.WithLogger(zerolog.New(os.Stderr).Level(zerolog.WarnLevel)))
	if err != nil {
		return err
	}
	bom, err := g.Generate()
	if err != nil {
		return err
	}
	// The command of the library takes the time of day and a hash of itself.
	bom.Metadata.Timestamp = date
	bom.Metadata.Tools = &cdx.ToolsChoice{Components: &[]cdx.Component{{
		Type: cdx.ComponentTypeLibrary, Group: "github.com/CycloneDX", Name: "cyclonedx-gomod",
	}}}
	return cdx.NewBOMEncoder(os.Stdout, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
}
