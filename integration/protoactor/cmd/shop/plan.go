package main

import "math/rand/v2"

// fate is what happens to an order, decided by the seed before it begins.
type fate int

const (
	ships     fate = iota
	declined       // the bank says no
	bankFails      // the till crashes on it, restarts, and the order tries again
	impatient      // the customer leaves while the till works: its answer reaches nobody
)

// plan is an order and what will happen to it.
type plan struct {
	id      int
	fate    fate
	product string
	amount  int  // in cents
	fire    bool // the shelf catches fire, and the whole stock starts anew
	jam     bool // its label jams the printer, which gives up for good
}

var products = []string{"anvils", "dynamite", "magnets", "rockets", "springs"}

// plans returns the n orders of a seed: the same ones on every machine.
func plans(seed uint64, n int) []plan {
	random := rand.New(rand.NewPCG(seed, 0))
	list := make([]plan, n)
	for i := range list {
		p := plan{id: i + 1, product: products[random.IntN(len(products))], amount: 100 + random.IntN(50_000)}
		switch dice := random.IntN(100); {
		case dice < 4:
			p.fate = bankFails
		case dice < 8:
			p.fate = impatient
		case dice < 12:
			p.fate = declined
		}
		list[i] = p
	}
	if n > 0 {
		list[n/3].fire = true
		last := &list[n-1-n/10]
		last.fate, last.jam = ships, true // only what ships gets a label
	}
	return list
}
