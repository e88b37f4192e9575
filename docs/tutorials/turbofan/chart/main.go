// Command chart draws the pictures of the tutorial from what fettle prognose
// predict wrote:
//
//	chart -predicted predicted.csv -truth rul.csv > lives.svg
//	chart -course course.csv -truth rul.csv -unit 31 > course.svg
//
// The first shows each unit's predicted remaining life with its interval
// against the true one; the second one unit's predictions over its life.
package main

import (
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
)

const (
	width, height          = 760, 420
	left, right, top, base = 56, 16, 34, 376
)

func main() {
	predicted := flag.String("predicted", "", "CSV: unit,rul,rul_low,rul_high")
	course := flag.String("course", "", "CSV: unit,cycle,rul,rul_low,rul_high")
	truth := flag.String("truth", "", "CSV: unit,rul at each unit's last row")
	unit := flag.String("unit", "", "the unit to draw the course of")
	limit := flag.Float64("cap", 125, "cap on the true remaining life")
	flag.Parse()
	svg, err := draw(*predicted, *course, *truth, *unit, *limit)
	if err == nil {
		_, err = os.Stdout.WriteString(svg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func draw(predicted, course, truth, unit string, limit float64) (string, error) {
	ends, err := read(truth)
	if err != nil {
		return "", err
	}
	if course != "" {
		rows, err := read(course)
		if err != nil {
			return "", err
		}
		return drawCourse(rows, ends, unit, limit)
	}
	rows, err := read(predicted)
	if err != nil {
		return "", err
	}
	return drawLives(rows, ends, limit)
}

// row is a row of a table by its columns' names.
type row map[string]string

func (r row) float(name string) float64 {
	v, _ := strconv.ParseFloat(r[name], 64)
	return v
}

func read(path string) ([]row, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(records) < 2 {
		return nil, fmt.Errorf("%s has no rows", path)
	}
	var out []row
	for _, record := range records[1:] {
		r := row{}
		for i, name := range records[0] {
			r[name] = record[i]
		}
		out = append(out, r)
	}
	return out, nil
}

// canvas maps values to places and collects what is drawn.
type canvas struct {
	strings.Builder
	xMin, xMax, yMax float64
}

func (c *canvas) x(v float64) float64 {
	return left + (v-c.xMin)/(c.xMax-c.xMin)*(width-left-right)
}
func (c *canvas) y(v float64) float64 { return base - v/c.yMax*(base-top) }

func newCanvas(title, across, up string, xMin, xMax, yMax, xStep, yStep float64) *canvas {
	c := &canvas{xMin: xMin, xMax: xMax, yMax: yMax}
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" role="img" aria-label="%s">
<rect width="%d" height="%d" fill="#fff"/>
<text x="%d" y="20" font-size="14" fill="#222">%s</text>
`, width, height, title, width, height, left, title)
	for v := 0.0; v <= yMax; v += yStep {
		fmt.Fprintf(c, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#444">%g</text>`+"\n", left, c.y(v), width-right, left-6, c.y(v)+4, v)
	}
	for v := xMin; v <= xMax; v += xStep {
		fmt.Fprintf(c, `<text x="%.1f" y="%d" text-anchor="middle" fill="#444">%g</text>`+"\n", c.x(v), base+18, v)
	}
	fmt.Fprintf(c, `<text x="%d" y="%d" text-anchor="middle" fill="#444">%s</text><text transform="translate(14 %d) rotate(-90)" text-anchor="middle" fill="#444">%s</text>`+"\n",
		(left+width-right)/2, height-8, across, (top+base)/2, up)
	return c
}

func (c *canvas) end() string { return c.String() + "</svg>\n" }

func drawLives(rows, ends []row, limit float64) (string, error) {
	truth := map[string]float64{}
	for _, r := range ends {
		truth[r["unit"]] = min(r.float("rul"), limit)
	}
	sort.SliceStable(rows, func(a, b int) bool { return truth[rows[a]["unit"]] < truth[rows[b]["unit"]] })
	c := newCanvas("Each engine's remaining life: true (line), predicted (dot), 80 % interval (bar)", "engines, by true remaining life", "cycles", 0, float64(len(rows)), limit*1.08, 10, 25)
	var line strings.Builder
	for i, r := range rows {
		want, ok := truth[r["unit"]]
		if !ok {
			return "", fmt.Errorf("no truth for unit %s", r["unit"])
		}
		x := c.x(float64(i) + 0.5)
		colour := "#1c7ed6"
		if want < r.float("rul_low") || want > r.float("rul_high") {
			colour = "#e8590c"
		}
		fmt.Fprintf(c, `<path d="M%.1f %.1fV%.1f" stroke="%s" stroke-width="3" stroke-opacity=".45"/><circle cx="%.1f" cy="%.1f" r="2.4" fill="%s"/>`+"\n",
			x, c.y(r.float("rul_low")), c.y(r.float("rul_high")), colour, x, c.y(r.float("rul")), colour)
		fmt.Fprintf(&line, "%s%.1f %.1f", map[bool]string{true: "M", false: "L"}[i == 0], x, c.y(want))
	}
	fmt.Fprintf(c, `<path d="%s" fill="none" stroke="#222" stroke-width="1.5"/>`+"\n", line.String())
	return c.end(), nil
}

func drawCourse(rows, ends []row, unit string, limit float64) (string, error) {
	var mine []row
	for _, r := range rows {
		if r["unit"] == unit {
			mine = append(mine, r)
		}
	}
	if len(mine) == 0 {
		return "", fmt.Errorf("no rows of unit %q", unit)
	}
	end := -1.0
	for _, r := range ends {
		if r["unit"] == unit {
			end = r.float("rul") + mine[len(mine)-1].float("cycle")
		}
	}
	if end < 0 {
		return "", errors.New("no truth for that unit")
	}
	c := newCanvas("Engine "+unit+": remaining life as predicted cycle by cycle, with its 80 % interval; the truth is the line", "cycle", "cycles left", 0, end, limit*1.08, 25, 25)
	var upper, lower, middle, truth strings.Builder
	for i, r := range mine {
		x := c.x(r.float("cycle"))
		move := map[bool]string{true: "M", false: "L"}[i == 0]
		fmt.Fprintf(&upper, "%s%.1f %.1f", move, x, c.y(r.float("rul_high")))
		fmt.Fprintf(&middle, "%s%.1f %.1f", move, x, c.y(r.float("rul")))
		fmt.Fprintf(&truth, "%s%.1f %.1f", move, x, c.y(min(limit, end-r.float("cycle"))))
		back := mine[len(mine)-1-i]
		fmt.Fprintf(&lower, "L%.1f %.1f", c.x(back.float("cycle")), c.y(back.float("rul_low")))
	}
	fmt.Fprintf(c, `<path d="%s%sZ" fill="#1c7ed6" fill-opacity=".2"/><path d="%s" fill="none" stroke="#1c7ed6" stroke-width="1.8"/><path d="%s" fill="none" stroke="#222" stroke-width="1.5"/>`+"\n",
		upper.String(), lower.String(), middle.String(), truth.String())
	return c.end(), nil
}
