package papyra

// Identity is who seals records: a process and one start of its publisher.
// Make it with [NewIdentity].
type Identity struct {
	node, run string
	mid       string // `,"node":"…","run":"…","seq":`
}

// Node returns the name of the process.
func (id *Identity) Node() string { return id.node }

// Run returns the 16 random characters of this start.
func (id *Identity) Run() string { return id.run }
