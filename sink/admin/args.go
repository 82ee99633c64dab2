package admin

import (
	"fmt"
	"time"

	"github.com/papyra/papyra"
	"github.com/papyra/papyra/internal/escape"
)

// The arguments of the verbs, as JSON.
type (
	scanArgs struct {
		Full      bool      `json:"full,omitempty"`
		MaxListed int       `json:"max_listed,omitempty"`
		Now       time.Time `json:"now,omitzero"`
	}
	recoverArgs struct {
		QuarantineDir string    `json:"quarantine_dir,omitempty"` // as text: see escape.EncodeName
		DryRun        bool      `json:"dry_run,omitempty"`
		Now           time.Time `json:"now,omitzero"`
		Ask           bool      `json:"ask,omitempty"` // a plan wants an answer
	}
	compactArgs struct {
		Keep   map[string]keepArgs `json:"keep,omitempty"`
		Dedupe bool                `json:"dedupe,omitempty"`
		At     time.Time           `json:"at,omitzero"`
		DryRun bool                `json:"dry_run,omitempty"`
		Ask    bool                `json:"ask,omitempty"`
	}
	queryArgs struct {
		Categories []string            `json:"categories,omitempty"`
		Systems    []string            `json:"systems,omitempty"`
		Types      []string            `json:"types,omitempty"`
		Actors     []string            `json:"actors,omitempty"`
		Nodes      []string            `json:"nodes,omitempty"`
		Since      time.Time           `json:"since,omitzero"`
		Until      time.Time           `json:"until,omitzero"`
		Limit      int                 `json:"limit,omitempty"`
		Reverse    bool                `json:"reverse,omitempty"`
		Duplicates bool                `json:"duplicates,omitempty"`
		Keep       map[string]keepArgs `json:"keep,omitempty"`
		At         time.Time           `json:"at,omitzero"`
	}
	healthArgs struct {
		// What is wanted beside what costs nothing.
		Checks    bool                `json:"checks,omitempty"`
		Groups    bool                `json:"groups,omitempty"`
		Warnings  bool                `json:"warnings,omitempty"`
		Retention map[string]keepArgs `json:"keep,omitempty"` // for the warnings
	}
	jobArgs struct {
		Job string `json:"job"`
	}
)

// keepArgs are papyra.Limits.
type keepArgs struct {
	Records int64  `json:"keep_records,omitempty"`
	Age     string `json:"keep_age,omitempty"` // as time.Duration shows itself
	Bytes   int64  `json:"keep_bytes,omitempty"`
}

// generalLimits is the name of the limits of every category.
const generalLimits = "general"

// keepOf returns the limits that there are, by category.
func keepOf(r papyra.Retention) map[string]keepArgs {
	out := map[string]keepArgs{}
	put := func(name string, l papyra.Limits) {
		if l.IsZero() {
			return
		}
		k := keepArgs{Records: l.Records, Bytes: l.Bytes}
		if l.Age != 0 {
			k.Age = l.Age.String()
		}
		out[name] = k
	}
	put(generalLimits, r.General)
	for _, kind := range papyra.Kinds() {
		put(kind.Category(), r.ByKind[kind])
	}
	return out
}

// retentionOf is the reverse of keepOf.
func retentionOf(keep map[string]keepArgs) (r papyra.Retention, err error) {
	for name, k := range keep {
		l := papyra.Limits{Records: k.Records, Bytes: k.Bytes}
		if k.Age != "" {
			if l.Age, err = time.ParseDuration(k.Age); err != nil {
				return r, fmt.Errorf("%w: keep_age %q: write it like 24h", papyra.ErrUsage, k.Age)
			}
		}
		kind := papyra.ParseCategory(name)
		switch {
		case name == generalLimits:
			r.General = l
		case kind == papyra.KindUnknown:
			return r, fmt.Errorf("%w: no category is called %q", papyra.ErrUsage, name)
		default:
			r.ByKind[kind] = l
		}
	}
	return r, nil
}

func queryArgsOf(q papyra.Query) *queryArgs {
	a := &queryArgs{
		Systems: q.Systems, Types: q.Types, Actors: q.Actors, Nodes: q.Nodes, Since: q.Since, Until: q.Until,
		Limit: q.Limit, Reverse: q.Reverse, Duplicates: q.Duplicates, Keep: keepOf(q.Retention), At: q.At,
	}
	for _, k := range q.Kinds {
		a.Categories = append(a.Categories, k.Category())
	}
	return a
}

func (a *queryArgs) query() (papyra.Query, error) {
	q := papyra.Query{
		Systems: a.Systems, Types: a.Types, Actors: a.Actors, Nodes: a.Nodes, Since: a.Since, Until: a.Until,
		Limit: a.Limit, Reverse: a.Reverse, Duplicates: a.Duplicates, At: a.At,
	}
	for _, name := range a.Categories {
		kind := papyra.ParseCategory(name)
		if kind == papyra.KindUnknown {
			return q, fmt.Errorf("%w: no category is called %q", papyra.ErrUsage, name)
		}
		q.Kinds = append(q.Kinds, kind)
	}
	var err error
	q.Retention, err = retentionOf(a.Keep)
	return q, err
}

func compactArgsOf(o *papyra.CompactOptions) *compactArgs {
	return &compactArgs{Keep: keepOf(o.Retention), Dedupe: o.Dedupe, At: o.At, DryRun: o.DryRun, Ask: o.Approve != nil}
}

func (a *compactArgs) options() (papyra.CompactOptions, error) {
	r, err := retentionOf(a.Keep)
	return papyra.CompactOptions{Retention: r, Dedupe: a.Dedupe, At: a.At, DryRun: a.DryRun}, err
}

func recoverArgsOf(o *papyra.RecoverOptions) *recoverArgs {
	return &recoverArgs{QuarantineDir: escape.EncodeName(o.QuarantineDir), DryRun: o.DryRun, Now: o.Now, Ask: o.Approve != nil}
}

func (a *recoverArgs) options() papyra.RecoverOptions {
	return papyra.RecoverOptions{QuarantineDir: escape.DecodeName(a.QuarantineDir), DryRun: a.DryRun, Now: a.Now}
}
