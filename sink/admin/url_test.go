package admin

import (
	"errors"
	"testing"

	"github.com/papyra/papyra"
)

// A URL that can never work is not a broker that cannot be reached.
func TestConnectRefusesAWrongURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://127.0.0.1:4222", "127.0.0.1:99999", "nats://127.0.0.1:1,ws://127.0.0.1:1"} {
		if _, err := Connect(FleetConfig{URL: url}); !errors.Is(err, papyra.ErrConfig) {
			t.Errorf("%s: got %v, want ErrConfig", url, err)
		}
	}
}
