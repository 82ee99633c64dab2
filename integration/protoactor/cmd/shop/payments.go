package main

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
)

// bankAnswer is what the bank says to a charge.
type bankAnswer int

const (
	bankPays bankAnswer = iota
	bankDeclines
	bankDown
)

// charge asks for an order's money; the answer is a charged.
type charge struct {
	Order int `json:"order"`
	Cents int `json:"cents"`
	bank  bankAnswer
}

type charged struct {
	Order    int  `json:"order"`
	Declined bool `json:"declined"`
}

// closing asks payments to let its tills finish and go; the answer is a closed.
type (
	closing struct{}
	closed  struct{}
)

// payments shares the charges among its tills.
type payments struct {
	shop   *shop
	tills  []*actor.PID
	closer *actor.PID // who waits for the tills to be gone
}

func (p *payments) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		for i := range tills {
			pid, err := c.SpawnNamed(p.shop.props(func() actor.Actor { return &till{} }), fmt.Sprintf("till-%d", i))
			if err != nil {
				panic(err)
			}
			p.tills = append(p.tills, pid)
		}
	case *charge:
		c.Forward(p.tills[m.Order%len(p.tills)])
	case *closing:
		p.closer = c.Sender()
		for _, till := range p.tills {
			c.Poison(till) // behind the charges it has
		}
	case *actor.Terminated:
		if p.closer != nil && len(c.Children()) == 0 {
			c.Send(p.closer, &closed{})
		}
	}
}

// till talks to the bank, and does not survive its failures.
type till struct{}

var errBank = errors.New("dial bank: connection reset by peer")

func (*till) Receive(c actor.Context) {
	m, ok := c.Message().(*charge)
	if !ok {
		return
	}
	if m.bank == bankDown {
		panic(fmt.Errorf("charge order %d: %w", m.Order, errBank))
	}
	c.Respond(&charged{Order: m.Order, Declined: m.bank == bankDeclines})
}
