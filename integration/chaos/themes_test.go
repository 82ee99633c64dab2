package chaos

import (
	"math/rand/v2"
	"time"
)

// theme is what a run tries for certain, beside whatever else its seed draws.
type theme struct {
	name  string
	needs func(host) bool
	apply func(*plan, *rand.Rand)
}

func anywhere(host) bool    { return true }
func withRedis(h host) bool { return h.redis }
func asRoot(h host) bool    { return h.root }

// themes are in the order in which seeds take them.
func themes() []theme {
	list := []theme{
		{"peace", anywhere, func(p *plan, _ *rand.Rand) { p.pacify() }},
		{"overrun", anywhere, func(p *plan, r *rand.Rand) {
			p.alone(r)
			p.place(0, r, sinkFull)
			p.slots[0].events = 512 << 10
		}},
		{"hung stop", anywhere, func(p *plan, r *rand.Rand) {
			p.alone(r)
			p.place(0, r, sinkGiveUp)
		}},
		{"stranger", anywhere, func(p *plan, r *rand.Rand) {
			p.alone(r)
			p.stranger = 1 + r.IntN(300)
		}},
		{"rotation", anywhere, func(p *plan, r *rand.Rand) {
			w := p.first(storeRotating)
			w.files, w.size = 2, 128
			p.slots[0].faults = p.merge(p.slots[0].faults, p.draw(r, 1, []faultKind{pubFlood}, 50*time.Millisecond, 100*time.Millisecond))
		}},
		{"small queue", anywhere, func(p *plan, r *rand.Rand) {
			p.slots[0].events = 64 << 10
			p.slots[0].faults = []fault{{p.length / 3, pubFlood, 200 * time.Millisecond}}
			// The flood must find the broker standing still.
			p.broker = p.merge(p.broker, []fault{{p.length / 5, brokerStop, p.length/2 + 100*time.Millisecond}})
		}},
	}
	for _, kind := range []faultKind{brokerStop, brokerKill, brokerRevoke} {
		list = append(list, theme{string(kind), anywhere, func(p *plan, r *rand.Rand) {
			p.broker = p.merge(p.broker, p.draw(r, 1, []faultKind{kind}, 50*time.Millisecond, 300*time.Millisecond))
		}})
	}
	for _, kind := range []faultKind{redisStop, redisKill, redisForget, redisFull, redisRevoke, redisCut} {
		list = append(list, theme{string(kind), withRedis, func(p *plan, r *rand.Rand) {
			p.first(storeRedis)
			p.redis = p.merge(p.redis, p.draw(r, 2, []faultKind{kind}, 20*time.Millisecond, 300*time.Millisecond))
		}})
	}
	for _, kind := range []faultKind{pubCut, pubSwallow, pubPartition, pubClose, pubHurry, pubAbandon} {
		list = append(list, theme{string(kind), anywhere, func(p *plan, r *rand.Rand) {
			for i := range p.slots {
				p.slots[i].faults = p.merge(p.slots[i].faults, p.draw(r, 2, []faultKind{kind}, 0, 40*time.Millisecond))
			}
			if kind == pubHurry { // something must be in the buffer that cannot leave
				p.broker = p.merge(p.broker, []fault{{p.length / 5, brokerStop, p.length / 2}})
			}
		}})
	}
	return append(list,
		theme{string(sinkRestart), anywhere, func(p *plan, r *rand.Rand) { p.single(); p.place(0, r, sinkRestart, sinkRestart) }},
		theme{string(sinkKill), anywhere, func(p *plan, r *rand.Rand) {
			p.single()
			if p.groups[0].workers[0].store == storeMemory {
				p.first(storeJSON)
			}
			p.groups[0].workers[0].process = true
			p.place(0, r, sinkKill, sinkKill)
		}},
		theme{string(sinkStall), anywhere, func(p *plan, r *rand.Rand) {
			p.groups[0].workers[0].process = false
			p.place(0, r, sinkStall, sinkStall)
		}},
		theme{string(diskFull), asRoot, func(p *plan, r *rand.Rand) {
			w := p.first([]storeKind{storeJSON, storeRotating}[r.IntN(2)])
			w.small, w.process = true, r.IntN(2) == 0
			p.place(0, r, diskFull, diskFull)
		}},
		theme{string(diskLimit), anywhere, func(p *plan, r *rand.Rand) {
			p.first([]storeKind{storeJSON, storeRotating}[r.IntN(2)]).process = true
			p.place(0, r, diskLimit, diskLimit)
		}},
		theme{string(actCompact), anywhere, func(p *plan, r *rand.Rand) {
			w := p.first([]storeKind{storeJSON, storeMemory}[r.IntN(2)])
			w.process, w.keep = false, 5
			p.place(0, r, actCompact, actCompact)
		}},
		theme{string(actRecover), anywhere, func(p *plan, r *rand.Rand) { p.single(); p.place(0, r, actRecover, actRecover) }},
		theme{string(actCopy), anywhere, func(p *plan, r *rand.Rand) {
			// A copy is a beginning of its source only while nothing is removed.
			p.first(storeJSON).process = false
			p.place(0, r, actCopy, actCopy)
		}},
	)
}

// first makes the first worker's store one of a kind, and takes away what the
// seed had drawn for it.
func (p *plan) first(kind storeKind) *workerPlan {
	w := &p.groups[0].workers[0]
	w.store, w.small = kind, false
	w.process = w.process && kind != storeMemory
	p.workers[0][0] = nil
	return w
}

// single leaves one group, so that a record waits for its sinks while they are
// away.
func (p *plan) single() {
	p.groups, p.workers = p.groups[:1], p.workers[:1]
}

// alone leaves one worker, which is a goroutine, suffers nothing yet and keeps
// every report, and nothing destructive.
func (p *plan) alone(r *rand.Rand) {
	p.single()
	p.groups[0].workers, p.workers[0] = p.groups[0].workers[:1], [][]fault{nil}
	p.first([]storeKind{storeJSON, storeMemory}[r.IntN(2)]).process = false
	p.sinks = true
	p.broker = p.draw(r, 1, []faultKind{brokerStop}, 20*time.Millisecond, 100*time.Millisecond)
}

// place adds faults of the first worker of a group, each within its own part of
// the schedule.
func (p *plan) place(group int, r *rand.Rand, kinds ...faultKind) {
	part := p.length / time.Duration(len(kinds))
	for i, kind := range kinds {
		f := fault{at: time.Duration(i)*part + part/2, kind: kind, long: between(r, 20*time.Millisecond, 250*time.Millisecond)}
		p.workers[group][0] = p.merge(p.workers[group][0], []fault{f})
	}
}

// pacify takes all faults away, but those of Redis.
func (p *plan) pacify() {
	p.broker, p.calm = nil, true
	for g := range p.workers {
		for w := range p.workers[g] {
			p.workers[g][w] = nil
		}
	}
	for i := range p.slots {
		p.slots[i].faults = nil
	}
}
