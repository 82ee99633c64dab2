package publisher_test

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/publisher"
	"github.com/papyra/papyra/publisher/metrics"
)

// runtimeOfREADME has the code of the README between its comments. It is compiled, not
// run: it wants a broker at the usual address.
func runtimeOfREADME(ctx context.Context, lastSeen time.Time, shop papyra.Address, msg any) {
	// README: the publisher
	p, err := publisher.Connect("nats://127.0.0.1:4222", publisher.Config{System: "orders"})
	if err != nil {
		log.Fatal(err) // only a wrong configuration: a broker that is down is no error
	}
	defer p.Close(ctx) // sends what is buffered; without a deadline for 5 s at most: Config.CloseTimeout

	cart := papyra.Address{Name: "cart-42"}
	p.Started(cart)
	p.Crashed(cart, errors.New("bad input"), slog.Int("attempt", 3))
	p.StoppedAt(lastSeen, cart)
	p.DeadLetter(papyra.DeadLetter{Target: cart, MessageType: "AddItem", Payload: msg, Sender: shop})
	// README: its metrics
	prometheus.MustRegister(metrics.Collector(p))
	// README: end
}

var _ = runtimeOfREADME

// The README shows the code that is compiled here.
func TestREADMEShowsCodeThatCompiles(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "## Embed the publisher\n")
	if !ok {
		t.Fatal("the README has no section about the publisher")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var shown []string
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(section, -1) {
		shown = append(shown, block[1])
	}
	_, code, _ := strings.Cut(string(own), "\t// README: the publisher\n")
	code, _, _ = strings.Cut(code, "\t// README: end\n")
	compiled := strings.Split(strings.ReplaceAll("\n"+code, "\n\t", "\n")[1:], "// README: its metrics\n")
	if len(shown) != len(compiled) {
		t.Fatalf("the README has %d blocks, want %d", len(shown), len(compiled))
	}
	for i := range shown {
		if shown[i] != compiled[i] {
			t.Errorf("the README shows\n%s\nand here stands\n%s", shown[i], compiled[i])
		}
	}
}
