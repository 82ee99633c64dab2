package main

import (
	"time"

	"github.com/papyra/papyra/internal/human"
)

// progressLine is one line on a terminal that says how far long work has come. It
// appears after progressAfter, so that short work shows nothing, and is wiped when
// the work is done.
type progressLine struct {
	s     *screen
	doing string
	now   func() time.Time
	began time.Time
	last  time.Time
	shown bool
}

const (
	progressAfter = 500 * time.Millisecond
	progressEvery = 100 * time.Millisecond
)

// report is a papyra.Progress.
func (p *progressLine) report(done, total int64) {
	now := p.now()
	if now.Sub(p.began) < progressAfter || now.Sub(p.last) < progressEvery {
		return
	}
	p.last, p.shown = now, true
	rate := int64(float64(done) / now.Sub(p.began).Seconds())
	if total > 0 {
		p.s.printf("\r\x1b[K%s  %3d%%  %s of %s, %s/s", p.doing, min(100, done*100/total), human.Bytes(done), human.Bytes(total), human.Bytes(rate))
	} else {
		p.s.printf("\r\x1b[K%s  %s, %s/s", p.doing, human.Bytes(done), human.Bytes(rate))
	}
	_ = p.s.flush()
}

func (p *progressLine) clear() {
	if p.shown {
		p.s.printf("\r\x1b[K")
		_ = p.s.flush()
		p.shown = false
	}
}
