package papyra

// Check is what an examination found out about one thing that a store needs.
type Check struct {
	// Name is the thing in a word, the same in each examination: "lock".
	Name   string      `json:"name"`
	Status CheckStatus `json:"state"`
	// Finding says what was found. It may hold text from elsewhere: escape it
	// before you show it on a terminal.
	Finding string `json:"finding"`
	Hint    string `json:"hint,omitempty"` // what to do, where there is something to do
}

// CheckStatus says how a check ended.
type CheckStatus string

// The statuses of a check.
const (
	StatusOK      CheckStatus = "ok"
	StatusWarn    CheckStatus = "warn"    // it works, and may stop working
	StatusFail    CheckStatus = "fail"    // it does not work
	StatusSkipped CheckStatus = "skipped" // it could not be checked, because something else failed
)
