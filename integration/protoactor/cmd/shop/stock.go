package main

import (
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// reserve asks for one piece of a product; the answer is a reserved.
type reserve struct {
	Order   int    `json:"order"`
	Product string `json:"product"`
	Fire    bool   `json:"fire"`
}

type reserved struct {
	Order int `json:"order"`
}

var errFire = errors.New("the shelf is on fire")

// onFire is the stock's supervision of its shelves: a fire is not theirs alone.
func onFire() actor.SupervisorStrategy {
	return actor.NewOneForOneStrategy(10, time.Minute, func(reason any) actor.Directive {
		if err, ok := reason.(error); ok && errors.Is(err, errFire) {
			return actor.EscalateDirective
		}
		return actor.RestartDirective
	})
}

// stock has a shelf for each product.
type stock struct {
	shop    *shop
	shelves map[string]*actor.PID
}

func (s *stock) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		s.shelves = map[string]*actor.PID{}
		for _, product := range products {
			pid, err := c.SpawnNamed(s.shop.props(func() actor.Actor { return &shelf{} }), product)
			if err != nil {
				panic(err)
			}
			s.shelves[product] = pid
		}
	case *reserve:
		c.Forward(s.shelves[m.Product])
	}
}

// shelf never runs out, but it burns.
type shelf struct{}

func (*shelf) Receive(c actor.Context) {
	if m, ok := c.Message().(*reserve); ok {
		if m.Fire {
			panic(errFire)
		}
		c.Respond(&reserved{Order: m.Order})
	}
}

// label asks the printer for the label of a parcel. Nobody waits for it.
type label struct {
	Order   int    `json:"order"`
	Product string `json:"product"`
	Jam     bool   `json:"jam"`
}

// printer prints labels until one jams it.
type printer struct{ printed int }

func (p *printer) Receive(c actor.Context) {
	if m, ok := c.Message().(*label); ok {
		if m.Jam {
			panic("paper jam: open the lid and pull")
		}
		p.printed++
	}
}
