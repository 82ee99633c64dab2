package papyra

// Cause says in one word why a store did not do what was asked, so that failures
// can be counted by it. The list is closed. A word in capitals is not ours: it is
// the name of an errno, or the word with which a Redis server refuses.
type Cause string

// Causes on a file system.
const (
	CauseENOSPC Cause = "ENOSPC" // no bytes or no inodes are left
	CauseEDQUOT Cause = "EDQUOT" // the quota is used up
	CauseEFBIG  Cause = "EFBIG"  // the limit on the size of a file
	CauseEIO    Cause = "EIO"    // the disk failed
	CauseEROFS  Cause = "EROFS"  // mounted read-only
	CauseEACCES Cause = "EACCES" // the mode of a file or directory forbids it
	CauseEPERM  Cause = "EPERM"  // something else forbids it, as an immutable file
	CauseENOENT Cause = "ENOENT" // a directory is gone
	CauseESTALE Cause = "ESTALE" // the server of the file system does not know the file any more
	CauseEMFILE Cause = "EMFILE" // the process has too many descriptors
	CauseENFILE Cause = "ENFILE" // the system has
	CauseENOMEM Cause = "ENOMEM" // the kernel has no memory

	CauseShortWrite    Cause = "short_write"    // a part was written, without an error
	CauseForeignWriter Cause = "foreign_writer" // ErrForeignWriter
)

// Causes that a Redis server names.
const (
	CauseNOAUTH      Cause = "NOAUTH"      // no password, or a wrong one
	CauseNOPERM      Cause = "NOPERM"      // the user may not use the command or key
	CauseOOM         Cause = "OOM"         // maxmemory is reached and nothing may be evicted
	CauseREADONLY    Cause = "READONLY"    // the server is a replica
	CauseLOADING     Cause = "LOADING"     // the server is reading its data set
	CauseWRONGTYPE   Cause = "WRONGTYPE"   // something else stands in the place of a stream
	CauseMOVED       Cause = "MOVED"       // the slot is on another node, more often than is followed
	CauseCLUSTERDOWN Cause = "CLUSTERDOWN" // the cluster has no node for the slot
	CauseMISCONF     Cause = "MISCONF"     // the server cannot write its snapshot or log, and refuses
	CauseBUSY        Cause = "BUSY"        // the server is running a script of somebody else's
	CauseNOREPLICAS  Cause = "NOREPLICAS"  // fewer replicas than the server wants
	CauseMaxClients  Cause = "maxclients"  // the server has too many connections
)

// Causes on the way to a store, and in the process.
const (
	CauseTimeout     Cause = "timeout"     // no answer in time
	CauseUnreachable Cause = "unreachable" // a connection was refused, lost, or never made
	CauseTLS         Cause = "tls"         // one side does not trust the other's certificate, or does not encrypt
	CauseCancelled   Cause = "cancelled"   // the caller gave up: the time to stop was over
	CauseClosed      Cause = "closed"      // ErrClosed
	CauseOther       Cause = "other"       // anything else: see the message
)

// Causes returns the list, in a fixed order.
func Causes() []Cause {
	return []Cause{
		CauseENOSPC, CauseEDQUOT, CauseEFBIG, CauseEIO, CauseEROFS, CauseEACCES, CauseEPERM, CauseENOENT, CauseESTALE,
		CauseEMFILE, CauseENFILE, CauseENOMEM, CauseShortWrite, CauseForeignWriter,
		CauseNOAUTH, CauseNOPERM, CauseOOM, CauseREADONLY, CauseLOADING, CauseWRONGTYPE, CauseMOVED, CauseCLUSTERDOWN,
		CauseMISCONF, CauseBUSY, CauseNOREPLICAS, CauseMaxClients,
		CauseTimeout, CauseUnreachable, CauseTLS, CauseCancelled, CauseClosed, CauseOther,
	}
}
