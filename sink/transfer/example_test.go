package transfer_test

import (
	"context"
	"fmt"

	"github.com/papyra/papyra/sink/backend/memory"
	"github.com/papyra/papyra/sink/transfer"
)

func Example() {
	mem := memory.New(nil)
	mem.Plant([]byte(`{"kind":"event","system_id":"orders","actor_address":"orders:1","event_type":"ActorStarted","payload":{},"timestamp":1700000000.5}`))
	mem.Plant([]byte(`not a record`))
	from := mem.Open()
	to := memory.New(nil).Open()

	for range 2 {
		report, err := transfer.Run(context.Background(), from, to, transfer.Options{})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(report.Present, "present,", report.Copied, "copied,", report.Damaged, "damaged, verified:", report.Verified)
	}
	// Output:
	// 0 present, 1 copied, 1 damaged, verified: true
	// 1 present, 0 copied, 1 damaged, verified: true
}
