package publisher

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/papyra/papyra"
)

const (
	// replyRoom is how many answers can wait to be read. It is larger than any
	// window, so that no 503 is lost. If one is lost all the same, the window is not
	// confirmed.
	replyRoom = 4 * maxWindowMessages

	// maxAnswers bounds the answers of sinks that wait for the sender. What is beyond
	// is thrown away: the messages are sent again, and answered again.
	maxAnswers = 8192
)

// answer is an answer of a sink that has come.
type answer struct {
	papyra.HeardAnswer
	at time.Time
}

// ears reads what comes on the reply subjects of the messages: the server's 503 for a
// message that nobody took, and the answers of sinks. Everything else is thrown away.
// It reads always, so that a window that takes long loses nothing.
type ears struct {
	replies chan *nats.Msg
	fence   *nats.Msg     // goes through replies to tell that everything before it was read
	passed  chan struct{} // the fence was read
	news    chan struct{} // one slot: a sink answered
	stop    chan struct{}
	stopped chan struct{}

	mu      sync.Mutex
	nobody  []string // subjects of the 503 answers since they were taken
	lost    int      // 503 answers that had no room
	answers []answer
}

func newEars() *ears {
	return &ears{
		replies: make(chan *nats.Msg, replyRoom), fence: &nats.Msg{},
		passed: make(chan struct{}, 1), news: make(chan struct{}, 1),
		stop: make(chan struct{}), stopped: make(chan struct{}),
	}
}

// run reads until stop is closed.
func (e *ears) run() {
	defer close(e.stopped)
	for {
		select {
		case m := <-e.replies:
			e.take(m)
		case <-e.stop:
			return
		}
	}
}

// end ends run. Nothing is read any more.
func (e *ears) end() {
	close(e.stop)
	<-e.stopped
}

func (e *ears) take(m *nats.Msg) {
	switch {
	case m == e.fence:
		e.passed <- struct{}{}
	case len(m.Data) == 0:
		if m.Header.Get("Status") == "503" {
			e.takeNoResponders(m.Subject)
		}
	default:
		e.takeAnswer(m)
	}
}

// takeNoResponders keeps the subject of a 503 answer.
func (e *ears) takeNoResponders(subject string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.nobody) < replyRoom {
		e.nobody = append(e.nobody, subject)
	} else {
		e.lost++
	}
}

// lostReplies returns how many 503 answers had no room.
func (e *ears) lostReplies() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lost
}

// takeAnswer keeps the answer of a sink for the sender.
func (e *ears) takeAnswer(m *nats.Msg) {
	_, _, n, err := papyra.ParseHeardSubject(m.Subject)
	if err != nil {
		return
	}
	a := answer{at: time.Now()}
	if a.HeardAnswer, err = papyra.ParseHeardAnswer(m.Data); err != nil {
		return
	}
	a.Heard = append(a.Heard, papyra.Range{n, n})
	e.mu.Lock()
	if len(e.answers) < maxAnswers {
		e.answers = append(e.answers, a)
	}
	e.mu.Unlock()
	wake(e.news)
}

// awaitRead waits until everything that nats.go has received before now was read, and
// reports whether that is so. nats.go puts every 503 that the server sent before a PONG
// into the channel before it handles the PONG.
func (e *ears) awaitRead(ctx context.Context) bool {
	select {
	case e.replies <- e.fence:
	case <-ctx.Done():
		return false
	}
	select {
	case <-e.passed:
		return true
	case <-e.stopped:
		return false
	}
}

// takeNobody returns the subjects of the 503 answers since the last call.
func (e *ears) takeNobody() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.nobody
	e.nobody = nil
	return list
}

// takeAnswers returns the answers of sinks since the last call. It takes back the
// memory of an earlier result.
func (e *ears) takeAnswers(room []answer) []answer {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := e.answers
	clear(room)
	e.answers = room[:0]
	return list
}

// replySubject returns the reply subject of the message with number id.
func (l *link) replySubject(id uint64) string {
	return l.replyOn + strconv.FormatUint(id, 10)
}

// messageID returns the number of the message with this reply subject, or false.
func (l *link) messageID(subject string) (id uint64, ok bool) {
	digits, ok := strings.CutPrefix(subject, l.inbox)
	if !ok && l.fallback != "" {
		digits, ok = strings.CutPrefix(subject, l.fallback)
	}
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseUint(digits, 10, 64)
	return id, err == nil
}
