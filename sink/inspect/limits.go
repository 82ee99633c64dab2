package inspect

import "github.com/papyra/papyra"

// Limits is what retention keeps of each stream, as JSON shows it: only the
// limits that there are, ages in seconds.
type Limits struct {
	KeepRecords int64   `json:"keep_records,omitempty"`
	KeepAge     float64 `json:"keep_age,omitempty"`
	KeepBytes   int64   `json:"keep_bytes,omitempty"`
}

// RetentionLimits returns the limits of r by category, those of every category
// as "general". Where nothing limits anything it is empty.
func RetentionLimits(r papyra.Retention) map[string]Limits {
	out := map[string]Limits{}
	add := func(name string, l papyra.Limits) {
		if !l.IsZero() {
			out[name] = Limits{l.Records, l.Age.Seconds(), l.Bytes}
		}
	}
	add("general", r.General)
	for _, k := range papyra.Kinds() {
		add(k.Category(), r.ByKind[k])
	}
	return out
}
