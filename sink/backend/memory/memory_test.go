package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/sink/backend/backendtest"
	"github.com/papyra/papyra/sink/backend/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	backendtest.Exercise(t, func(testing.TB) backendtest.Medium {
		m := memory.New(nil)
		return backendtest.Medium{
			Open:  func(testing.TB) papyra.Store { return m.Open() },
			Plant: func(_ testing.TB, line []byte) { m.Plant(line) },
			Quarantined: func(_ testing.TB, r *papyra.RecoverReport) [][]byte {
				var out [][]byte
				for _, q := range m.Quarantined() {
					if q.Act == r.Act {
						out = append(out, q.Bytes)
					}
				}
				return out
			},
		}
	})
}

func TestUnendedAct(t *testing.T) {
	backendtest.Unended(t, func(testing.TB) backendtest.Medium {
		m := memory.New(nil)
		return backendtest.Medium{
			Open:  func(testing.TB) papyra.Store { return m.Open() },
			Plant: func(_ testing.TB, line []byte) { m.Plant(line) },
		}
	})
}
