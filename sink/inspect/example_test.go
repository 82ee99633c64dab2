package inspect_test

import (
	"context"
	"fmt"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend/memory"
	"github.com/papyra/papyra/sink/inspect"
)

func Example() {
	record := `{"kind":"event","system_id":%q,"actor_address":"x:1","event_type":"ActorStarted","payload":{},"timestamp":%d.0}`
	east, west := memory.New(nil), memory.New(nil)
	east.Plant(fmt.Appendf(nil, record, "orders", 1700000001))
	west.Plant(fmt.Appendf(nil, record, "billing", 1700000000))
	west.Plant([]byte("no record"))
	stores := []papyra.Store{east.Open(), west.Open()}

	_, err := inspect.Read(context.Background(), stores, papyra.Query{}, func(rec *papyra.Record) error {
		fmt.Printf("%s %s\n", rec.System, rec.Type)
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	summary, _, err := inspect.Summarize(context.Background(), stores, papyra.Query{}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(summary.Records, "records,", summary.Damaged, "damaged line")
	// Output:
	// billing ActorStarted
	// orders ActorStarted
	// 2 records, 1 damaged line
}
