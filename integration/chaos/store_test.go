package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/papyra/papyra"
	goredis "github.com/redis/go-redis/v9"
)

// lines returns what lies in a store, read without the code that wrote it; only
// the memory has no other reader.
func (w *worker) lines() (list [][]byte, err error) {
	ctx := context.Background()
	switch w.plan.store {
	case storeMemory:
		_, err = w.store.Read(ctx, papyra.Query{Duplicates: true}, func(rec *papyra.Record, _ papyra.Place) error {
			list = append(list, bytes.Clone(rec.Line))
			return nil
		})
		return list, err
	case storeRedis:
		return redisLines(ctx, w.redis.server.Addr(), w.prefix)
	}
	paths, err := filepath.Glob(filepath.Join(w.dir, "records.ndjson*"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if len(data) > 0 && data[len(data)-1] != '\n' {
			return nil, fmt.Errorf("%s does not end in a newline", path)
		}
		for line := range bytes.Lines(data) {
			list = append(list, bytes.TrimSuffix(line, []byte("\n")))
		}
	}
	return list, nil
}

// redisLines reads all streams of a store.
func redisLines(ctx context.Context, address, prefix string) (list [][]byte, err error) {
	c := goredis.NewClient(&goredis.Options{Addr: address})
	defer c.Close()
	keys, err := storeKeys(ctx, c, prefix)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if strings.Contains(key, ":quarantine:") {
			continue
		}
		if kind, err := c.Type(ctx, key).Result(); err != nil || kind != "stream" {
			if err != nil {
				return nil, err
			}
			continue
		}
		entries, err := c.XRange(ctx, key, "-", "+").Result()
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			data, ok := e.Values["data"].(string)
			if !ok {
				return nil, fmt.Errorf("entry %s of %s has no data", e.ID, key)
			}
			list = append(list, []byte(data))
		}
	}
	return list, nil
}

func storeKeys(ctx context.Context, c *goredis.Client, prefix string) (keys []string, err error) {
	all := c.Scan(ctx, 0, "*"+prefix+":*", 1000).Iterator()
	for all.Next(ctx) {
		if strings.HasPrefix(strings.TrimPrefix(all.Val(), "{"), prefix+":") {
			keys = append(keys, all.Val())
		}
	}
	return keys, all.Err()
}

// seriesKey names a run's category.
type seriesKey struct {
	system, run string
	kind        papyra.Kind
}

// seen is what the stores of a group hold of a series.
type seen struct {
	lines map[uint64][]byte // the first of each number
	twice uint64            // exact copies beyond the first
	other uint64            // other lines with a number that was there already
	final bool              // with the last PublisherReport of the run
}

// holding is what the stores of a group hold.
type holding struct {
	series  map[seriesKey]*seen
	named   map[seriesKey]map[papyra.DropReason][]papyra.Range // what PublisherReports call dropped
	unheard map[string]map[seriesKey][]papyra.Range            // and what they call unheard, by group
	told    told
	damaged int
}

// hold reads the stores of a group.
func hold(workers []*worker) (*holding, error) {
	h := &holding{series: map[seriesKey]*seen{}, named: map[seriesKey]map[papyra.DropReason][]papyra.Range{}, unheard: map[string]map[seriesKey][]papyra.Range{}, told: newTold(workers[0].group.name)}
	for _, w := range workers {
		lines, err := w.lines()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", w.url, err)
		}
		for _, line := range lines {
			h.add(line)
		}
	}
	return h, nil
}

func (h *holding) add(line []byte) {
	rec, err := papyra.Parse(line)
	if err != nil || !rec.Sealed {
		h.damaged++
		return
	}
	key := seriesKey{string(rec.System), string(rec.Run), rec.Kind}
	s := h.series[key]
	if s == nil {
		s = &seen{lines: map[uint64][]byte{}}
		h.series[key] = s
	}
	switch first, ok := s.lines[rec.Seq]; {
	case !ok:
		s.lines[rec.Seq] = line
		if rec.Kind == papyra.KindReport && key.system == papyra.SystemReserved && !h.told.add(&rec) {
			h.damaged++ // its line was whole: let nothing agree
		}
	case bytes.Equal(first, line):
		s.twice++
	default:
		s.other++
	}
	if rec.Kind == papyra.KindReport && string(rec.Type) == papyra.ReportPublisher {
		h.report(&rec, s)
	}
}

// report takes what a publisher's report says.
func (h *holding) report(rec *papyra.Record, s *seen) {
	var report papyra.PublisherReport
	if json.Unmarshal(rec.Payload, &report) != nil {
		h.damaged++ // its line was whole: let nothing agree
		return
	}
	s.final = s.final || report.Final
	for category, c := range report.Categories {
		key := seriesKey{string(rec.System), string(rec.Run), papyra.ParseCategory(category)}
		for reason, d := range c.Dropped {
			if h.named[key] == nil {
				h.named[key] = map[papyra.DropReason][]papyra.Range{}
			}
			h.named[key][reason] = append(h.named[key][reason], d.Ranges...)
		}
		for group, d := range c.UnheardBy {
			if h.unheard[group] == nil {
				h.unheard[group] = map[seriesKey][]papyra.Range{}
			}
			h.unheard[group][key] = append(h.unheard[group][key], d.Ranges...)
		}
	}
}

// of returns what is held of a series, never nil.
func (h *holding) of(system, run string, kind papyra.Kind) *seen {
	if s := h.series[seriesKey{system, run, kind}]; s != nil {
		return s
	}
	return &seen{}
}
