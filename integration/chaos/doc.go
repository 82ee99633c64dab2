// Package chaos runs publishers, a broker and several sinks under random faults
// and balances their books: what the test knows of every number, what lies in the
// stores, and what package account says of them must agree to the record.
//
// Everything that can be chosen comes from a seed, which a failure prints: the
// stores, the buffers, the records and the schedule of faults. What cannot be
// chosen is the timing. It has no code of its own.
package chaos
