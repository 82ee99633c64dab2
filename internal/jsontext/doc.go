// Package jsontext writes and checks JSON text without spaces. It knows nothing
// of records; package papyra builds their lines from it.
//
//	Writer            writes one text into memory that is used again
//	├ writer.go       its limits and errors, numbers, names
//	├ text.go         strings
//	├ attrs.go        the fields of log/slog
//	├ value.go        values of type any, as far as no reflection is needed
//	├ reflect.go      values of any other type, by its plan
//	├ structure.go    structs, whose fields are read from memory
//	└ plan.go         how a type is written; worked out once for each type
//	Scanner           checks a text, without building anything   scan.go
//	digits.go         decimal digits, eight at a time, for both
//
// The package imports only the standard library. Its only state is the cache of
// plans.
package jsontext
