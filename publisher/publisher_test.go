package publisher

import (
	"context"
	"testing"
	"time"

	"github.com/papyra/papyra"
	"log/slog"
)

func closeNow(p *Publisher) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_ = p.Close(ctx)
}

func TestSmoke(t *testing.T) {
	s := embedded(t, nil)
	r := newReceiver(t, s.ClientURL())
	p := connect(t, s.ClientURL(), Config{})
	for i := range 1000 {
		p.Started(someActor, slog.Int("i", i))
	}
	await(t, "records arrive", func() bool { return r.got(papyra.KindEvent) == 1000 })
	t.Log(r.lines(papyra.KindEvent)[0])
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	begin := time.Now()
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(begin))
	t.Logf("%+v", p.Stats())
	t.Logf("%+v", r.allReports())
}
