package maintain

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/testrecord"
)

// What groups have not answered for is carried on for each of them by itself, as often
// as the reports that say it are removed.
func TestUnheardIsCarriedForEachGroup(t *testing.T) {
	p := newPublisher()
	var c Carried
	c.Add(p.report(t, 1, 0, `{"categories":{}}`))
	c.Add(p.report(t, 3, 9, `{"categories":{}}`))
	c.Add(p.report(t, 2, 5, `{"categories":{"events":{"accepted":9,"confirmed":9,"unheard_by":{"archive":{"n":3,"ranges":[[4,6]]},"live":{"n":1,"ranges":[[9,9]]}}}}}`))
	want := []papyra.SinkDrops{
		{Reason: papyra.DropUnheardBy, Group: "archive", System: "orders", Category: "events", Run: p.identity.Run(), N: 3, Ranges: []papyra.Range{{4, 6}}},
		{Reason: papyra.DropUnheardBy, Group: "live", System: "orders", Category: "events", Run: p.identity.Run(), N: 1, Ranges: []papyra.Range{{9, 9}}},
	}
	for range 3 {
		lines, err := c.Reports(New(papyra.ActRotate, testrecord.Start), testrecord.Start)
		if err != nil {
			t.Fatal(err)
		}
		var got []papyra.SinkDrops
		c = Carried{}
		for _, line := range lines {
			rec, err := papyra.Parse(line[:len(line)-1])
			if err != nil {
				t.Fatal(err)
			}
			var r papyra.RemovalReport
			if err := json.Unmarshal(rec.Payload, &r); err != nil {
				t.Fatal(err)
			}
			got = append(got, r.Dropped...)
			c.Add(&rec)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}
