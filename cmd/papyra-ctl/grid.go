package main

import (
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/papyra/papyra/internal/terminal"
)

// column is one column of a grid.
type column struct {
	title string
	right bool                     // numbers
	cut   bool                     // the last column, cut at the edge of a terminal
	color func(cell string) string // colour of a cell; nil for none
}

// grid is a table with aligned columns and without lines. It escapes its cells,
// and shows at most maxCell columns of each but the last one. Rows are written in
// pages, so that a table of any length needs little memory; a page is never
// narrower than the page before.
type grid struct {
	s       *screen
	columns []column
	widths  []int
	rows    [][]string
	longest int // bytes of the longest row of the page
	printed bool
}

// A page of a grid has at most so many rows, and fewer when rows are long: every
// row is padded to the longest row of its page.
const (
	pageRows  = 512
	pageBytes = 8 << 20
)

// maxCell bounds a cell, in columns of a terminal: every other row is padded to
// it, and a field of a record may have a megabyte. --output json shows it whole.
const maxCell = 256

func newGrid(s *screen, columns ...column) *grid {
	return &grid{s: s, columns: columns, widths: make([]int, len(columns))}
}

// addRow appends a row. It returns the error of an earlier write, so that a reader
// of a long store stops when nobody listens any more.
func (g *grid) addRow(cells ...string) error {
	size := 0
	for i, cell := range cells {
		switch {
		case i < len(cells)-1:
			cells[i] = text.Snip(terminal.EscapeCut(cell, maxCell), maxCell, "…")
		case g.columns[i].cut && g.s.width > 0:
			cells[i] = terminal.EscapeCut(cell, g.s.width)
		default:
			cells[i] = terminal.Escape(cell)
		}
		size += len(cells[i])
	}
	if len(g.rows) > 0 && (len(g.rows)+1)*max(g.longest, size) > pageBytes {
		if err := g.writePage(); err != nil {
			return err
		}
	}
	g.longest = max(g.longest, size)
	g.rows = append(g.rows, cells)
	if len(g.rows) >= pageRows || g.longest > pageBytes {
		return g.writePage()
	}
	return nil
}

// writePage writes the rows that were added and are not written yet. Whoever has
// added the last row calls it once more.
func (g *grid) writePage() error {
	if len(g.rows) == 0 {
		return nil
	}
	t := table.NewWriter()
	t.SuppressTrailingSpaces()
	t.SetStyle(table.Style{
		Box:     table.BoxStyle{PaddingRight: "  "},
		Options: table.OptionsNoBordersAndSeparators,
	})
	for i, c := range g.columns {
		g.widths[i] = max(g.widths[i], text.StringWidthWithoutEscSequences(c.title))
		if !c.cut {
			for _, row := range g.rows {
				g.widths[i] = max(g.widths[i], text.StringWidthWithoutEscSequences(row[i]))
			}
		}
	}
	g.cutRows()
	t.SetColumnConfigs(g.configs())
	if !g.printed {
		title := make(table.Row, len(g.columns))
		for i, c := range g.columns {
			title[i] = string(g.s.paint(faint, c.title))
		}
		t.AppendRow(title)
		g.printed = true
	}
	for _, row := range g.rows {
		cells := make(table.Row, len(row))
		for i, cell := range row {
			if color := g.columns[i].color; color != nil {
				cell = string(g.s.paint(color(cell), cell))
			}
			cells[i] = cell
		}
		t.AppendRow(cells)
	}
	g.rows, g.longest = g.rows[:0], 0
	t.SetOutputMirror(g.s.w)
	t.Render()
	// A bufio.Writer keeps its first error, and returns it also when nothing is
	// written.
	_, err := g.s.w.Write(nil)
	return err
}

// cutRows shortens the last column so that no row is wider than the terminal.
func (g *grid) cutRows() {
	last := len(g.columns) - 1
	if !g.columns[last].cut || g.s.width == 0 {
		return
	}
	room := g.s.width
	for _, w := range g.widths[:last] {
		room -= w + 2
	}
	room = max(room, 16)
	for _, row := range g.rows {
		row[last] = text.Snip(row[last], room, "…")
	}
}

func (g *grid) configs() []table.ColumnConfig {
	configs := make([]table.ColumnConfig, len(g.columns))
	for i, c := range g.columns {
		configs[i] = table.ColumnConfig{Number: i + 1}
		if !c.cut && i < len(g.columns)-1 {
			configs[i].WidthMin = g.widths[i]
		}
		if c.right {
			configs[i].Align = text.AlignRight
			configs[i].WidthMin = g.widths[i]
		}
	}
	return configs
}
