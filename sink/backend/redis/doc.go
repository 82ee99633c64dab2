// Package redis stores records in Redis Streams: the backends "redis:",
// "rediss:", "unix:", "redis+sentinel:" and "redis+cluster:". It needs Redis 6.2
// or newer, or a server that speaks like it. docs/format.md#redis specifies what is
// stored, for other implementations; this comment says what this one does.
//
// # URLs
//
//	redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]
//	unix://[USER[:PASSWORD]@]/PATH                          the database is the parameter db
//	redis+sentinel://[USER[:PASSWORD]@]HOST[:PORT],…/MASTER[/DB]
//	redis+cluster://[USER[:PASSWORD]@]HOST[:PORT],…
//
// With rediss in the place of redis the connections are encrypted and the
// servers' certificates verified. Parameters: prefix (default "papyra"), db,
// timeout (of connecting, and of each answer; default 5s), user, password_file
// (read at each connection), sentinel_user, sentinel_password_file, tls_ca,
// tls_cert, tls_key, tls_server_name. Any other one, and one that is given twice,
// is an error. Everything but hosts, paths and numbers may need escaping with
// %HH. What names the store in reports and messages shows no user and no
// password.
//
// # Keys
//
//	PREFIX:SYSTEM:CATEGORY                  a stream of records
//	PREFIX:SYSTEM:quarantine:KEY            what a recovery moved out of KEY, with : as _
//	{KEY}:quarantine                        the same in a cluster
//	{KEY}:fence:APPENDER                    how far an appender came with KEY; expires
//	PREFIX:store                            a random id, which makes the store exist
//
// In SYSTEM the bytes below 0x21, 0x7f and :={}*?[]\ are written =HH. Braces
// are refused in PREFIX, so that a key decides its slot as a whole, and the
// quarantine and the fences of a key are in its slot. A record stands under its
// own system's and category's key; one of an unknown kind may stand under any key
// of its system, and the Python implementation's spelling of the key, which does
// not escape, is read too. For an id with a colon, whose key could be one of a longer
// prefix, the newest records tell. Streams are found by looking through all keys with
// SCAN on every master, except where a query names its systems.
//
// # Entries
//
// An entry of a stream of records has an id that the server gave it and the one
// field "data": the bytes of the line without its newline, verbatim. Anything
// else is damage, as is a record under another stream's key. The order of a
// store is the order of the ids, which is the order of arrival within a stream;
// between streams it is as exact as the clocks of their servers, in milliseconds.
//
// An entry of a quarantine stream has the fields source (the key), data, timestamp
// (Unix seconds of the recovery), id (in source) and fields: the whole entry byte
// for byte, a JSON array of [name, value], each in base64.
//
// # Append
//
// A batch is cut into chunks, each of one stream's lines; all of them are sent in
// one round trip. A chunk is stored by a script, whole or not at all, together with
// its number in the fence that the appender has for the stream; one that does not
// follow right behind the chunk before it is refused. Where an answer was lost the
// fence is asked what is stored, and forbids the rest: its lines are sent again in
// new chunks, a copy of the old ones that reaches the server late does nothing, and
// the order holds. What is sent at a time gets smaller after each lost answer, so
// that it fits the way to the server. The client library's own retries are off for
// appends.
//
// The lines of a batch are of several streams, so that behind the ones that
// Append reports as stored others may be stored too. The appender remembers which,
// by a hash of each, and passes them over when the caller hands them in again.
//
// A fence is a string, which no look for streams finds. It expires six hours
// after the last append, a minute after Close. After an outage of more than six
// hours, or where the server evicts keys that expire, a chunk whose answer was
// lost may be stored twice: exact duplicates, which readers show once.
//
// Appenders do not exclude each other: any number of sinks, in any number of
// processes, may share a store, each with fences of its own. Only a second
// appender of the same Store is refused with papyra.ErrBusy. Recovery and
// compaction go on beside appenders and beside each other; two at a time may
// both report what one of them removes.
//
// # Durability
//
// What Append reports as stored is as durable as the server is configured to make
// it; Sync adds nothing. [Store.Warnings] says which settings may lose records. A
// failover may lose what the old master acknowledged and the new one did not have
// yet (papyra.AppendStats counts where it is noticed). A server of version 7.0
// that is killed within a write to its append-only log, and again later, may do a
// part of that write twice: exact duplicates.
//
// A RemovalReport is acknowledged before the first entry goes. In a cluster the
// reports may be on another master than the entries: a power cut of just that
// master may then lose the report of a removal that lasts.
//
// # Limits
//
// Memory: about 512 KiB for a page of each stream that is read, at least 16 KiB
// and in all about 32 MiB; an entry is held whole, whatever its size. Where entries
// of a stream get longer for the first time, one page may have 256 of them; from then
// on it has at most 16 MiB, or one entry. A scan
// reads one stream at a time. A compaction remembers 48 bytes for each unbroken
// part that goes. No command that is sent keeps the server busy with more than
// about 1,000 entries or 1 MiB; one larger entry is handled alone.
package redis
