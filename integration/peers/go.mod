// What others do with the same record, for comparison. A module of its own, so
// that none of it enters the root's dependencies.
module github.com/papyra/papyra/integration/peers

go 1.26.0

require github.com/papyra/papyra v0.0.0

require (
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.20 // indirect
	github.com/rs/zerolog v1.35.1 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	go.uber.org/zap v1.28.0 // indirect
	golang.org/x/perf v0.0.0-20260908200009-22c9c6c9d4da // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/papyra/papyra => ../..
