package backendtest

import (
	"slices"
	"time"

	"github.com/papyra/papyra"
)

// The model says what a store must show, written as the definitions read and
// without a thought of speed.

func mustParse(line string) papyra.Record {
	rec, err := papyra.Parse([]byte(line))
	if err != nil {
		panic(err.Error() + ": " + line)
	}
	return rec
}

// modelViews returns the view of each stream at time t: without what is too old;
// of these the last so many; of these the longest suffix that fits.
func modelViews(lines []string, r papyra.Retention, t time.Time) map[papyra.Stream][]string {
	streams := map[papyra.Stream][]string{}
	for _, line := range lines {
		rec := mustParse(line)
		streams[rec.Stream()] = append(streams[rec.Stream()], line)
	}
	for stream, all := range streams {
		limits := r.For(stream.Kind)
		var view []string
		for _, line := range all {
			rec := mustParse(line)
			if limits.Age > 0 && rec.HasDate() && rec.Timestamp().Before(t.Add(-limits.Age)) {
				continue
			}
			view = append(view, line)
		}
		if limits.Records > 0 && int64(len(view)) > limits.Records {
			view = view[int64(len(view))-limits.Records:]
		}
		for limits.Bytes > 0 && bytesOf(view) > limits.Bytes {
			view = view[1:]
		}
		streams[stream] = view
	}
	return streams
}

func bytesOf(lines []string) (n int64) {
	for _, l := range lines {
		n += int64(len(l)) + 1
	}
	return n
}

// modelDeduped returns lines without exact duplicates: of each the newest stays.
func modelDeduped(lines []string) (out []string) {
	met := map[string]bool{}
	for _, line := range slices.Backward(lines) {
		rec := mustParse(line)
		if !rec.HasIdentity() || !met[line] {
			out = append(out, line)
		}
		met[line] = true
	}
	slices.Reverse(out)
	return out
}

// modelRead returns what a query chooses from the lines of a view: of exact
// duplicates the copy that is met first, which is the newest one where the end
// of the store is read first.
func modelRead(lines []string, q papyra.Query) []string {
	var out []string
	for _, line := range lines {
		rec := mustParse(line)
		if q.Match(&rec) {
			out = append(out, line)
		}
	}
	if fromEnd := q.Limit > 0 || q.Reverse || !q.Retention.IsZero(); fromEnd {
		out = modelDeduped(out)
	} else {
		slices.Reverse(out)
		out = modelDeduped(out)
		slices.Reverse(out)
	}
	if q.Limit > 0 {
		out = out[max(len(out)-q.Limit, 0):]
	}
	if q.Reverse {
		slices.Reverse(out)
	}
	return out
}
