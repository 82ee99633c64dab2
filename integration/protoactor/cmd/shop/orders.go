package main

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// place asks orders to handle one.
type place struct{ plan plan }

// orders has a child for each order in the works.
type orders struct{ shop *shop }

func (o *orders) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *place:
		props := o.shop.props(func() actor.Actor { return &order{shop: o.shop, plan: m.plan} })
		if _, err := c.SpawnNamed(props, fmt.Sprintf("order-%d", m.plan.id)); err != nil {
			panic(err)
		}
	case *actor.Terminated: // a child is done
		<-o.shop.slots
	}
}

// order is one customer's order on its way through the shop.
type order struct {
	shop     *shop
	plan     plan
	reserved bool
	asks     int    // how often the present question was asked
	asked    func() // asks it again
	timer    *time.Timer
}

// tooLong tells an order that its question was not answered in time. One that
// comes after the order is gone is not a loss.
type tooLong struct{ asks int }

func (*tooLong) IgnoreDeadLetterLogging() {}

const maxAsks = 20

func (o *order) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		o.ask(c, func() {
			c.Request(o.shop.stock, &reserve{Order: o.plan.id, Product: o.plan.product, Fire: o.plan.fire && o.asks == 1})
		})
	case *reserved:
		switch {
		case o.reserved: // an answer to a question asked twice
		case o.plan.fate == impatient:
			o.shop.left.Add(1)
			c.Stop(c.Self())
		default:
			o.reserved = true
			o.ask(c, func() { c.Request(o.shop.payments, o.charge()) })
		}
	case *charged:
		if m.Declined {
			o.shop.refused.Add(1)
		} else {
			c.Send(o.shop.printer, &label{Order: o.plan.id, Product: o.plan.product, Jam: o.plan.jam})
			o.shop.shipped.Add(1)
		}
		c.Stop(c.Self())
	case *tooLong:
		switch {
		case m.asks != o.asks: // the answer came meanwhile
		case o.asks == maxAsks:
			o.shop.gaveUp.Add(1)
			c.Stop(c.Self())
		default:
			o.again(c)
		}
	case *actor.Stopping:
		o.timer.Stop()
	case *actor.Stopped:
		// The impatient customer had the card in the machine already: the order
		// is gone, and the till's answer always comes too late.
		if o.plan.fate == impatient {
			c.Request(o.shop.payments, o.charge())
		}
	}
}

// charge asks for the money; what the bank will say to this attempt is part of
// the plan.
func (o *order) charge() *charge {
	m := &charge{Order: o.plan.id, Cents: o.plan.amount}
	switch {
	case o.plan.fate == bankFails && o.asks == 1:
		m.bank = bankDown
	case o.plan.fate == declined:
		m.bank = bankDeclines
	}
	return m
}

// ask begins a new question.
func (o *order) ask(c actor.Context, question func()) {
	o.asks, o.asked = 0, question
	o.again(c)
}

func (o *order) again(c actor.Context) {
	o.asks++
	if o.timer != nil {
		o.timer.Stop()
	}
	// Not the framework's receive timeout: it writes to the actor's context from
	// the timer's goroutine.
	root, self, late := o.shop.system.Root, c.Self(), &tooLong{o.asks}
	o.timer = time.AfterFunc(patience, func() { root.Send(self, late) })
	o.asked()
}
