package letter

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
)

// Format is the paper and where the envelope's window is.
type Format string

// The formats. DIN is A4 with the address field of DIN 5008:2020 form B (20 mm
// from the left, 45 mm from the top, 85 by 45 mm; the lower 27.3 mm for the
// address), folded at 105 and 210 mm: envelopes DL and C6/5 with a window. US is
// Letter paper, folded in three, for a #10 envelope with its window 4 1/2 by
// 1 1/8 inches, 7/8 from the left and 1/2 from the bottom: the address stands
// where the window shows it however the paper slides.
const (
	DIN Format = "din5008"
	US  Format = "us10"
)

// Formats lists them.
var Formats = []Format{DIN, US}

type paper struct {
	size            string
	width, height   float64 // mm
	left, right     float64
	senderAt        float64 // of the small line above the address; 0: a block at the top
	addressX, addrY float64
	addressWidth    float64
	addressLine     float64 // height of a line
	addressMost     int
	bodyAt          float64
	folds           []float64
	bottom          float64
	dateX           float64
}

var papers = map[Format]paper{
	DIN: {"A4", 210, 297, 25, 20, 57.7, 25, 63, 75, 4.5, 6, 98.5, []float64{105, 210}, 25, 125},
	US:  {"Letter", 215.9, 279.4, 25.4, 25.4, 0, 25.4, 64.2, 85, 3.9, 4, 98, nil, 22, 130},
}

// Sheet is one letter.
type Sheet struct {
	Language  string
	Sender    []string // first line: the name
	Recipient []string
	Date      string
	Reference string
	Subject   string
	Text      string // paragraphs parted by an empty line; lines that begin with "- " are points
}

var fonts = sync.OnceValues(func() (*sfnt.Font, error) { return sfnt.Parse(goregular.TTF) })

// Unprintable gives the characters of a text that the embedded font (Go, WGL4:
// Latin, Greek and Cyrillic) has no shape for; Arabic and Hebrew are among them.
func Unprintable(text string) string {
	f, err := fonts()
	if err != nil {
		return ""
	}
	var out strings.Builder
	var b sfnt.Buffer
	for _, r := range text {
		if r == '\n' || r == 0xad || strings.ContainsRune(out.String(), r) {
			continue
		}
		if i, err := f.GlyphIndex(&b, printable(r)); err != nil || i == 0 {
			out.WriteRune(r)
		}
	}
	return out.String()
}

// printable is what stands for a character that only spaces or joins differently.
func printable(r rune) rune {
	switch r {
	case 0x202f, 0x2009, 0x2007:
		return 0xa0
	case 0x2011:
		return '-'
	case 'ẞ':
		return 'ß'
	}
	return r
}

func fit(s string) string { return strings.Map(printable, s) }

// Print writes letters one after another, each on a new sheet, as one PDF. The
// same letters give the same bytes.
func Print(w io.Writer, format Format, at time.Time, sheets []Sheet) (pages []int, err error) {
	p, ok := papers[format]
	if !ok {
		return nil, fmt.Errorf("no format %q", format)
	}
	f := fpdf.New("P", "mm", p.size, "")
	f.SetCreationDate(at)
	f.SetModificationDate(at)
	f.SetCatalogSort(true)
	f.SetProducer("Fettle", true)
	f.AddUTF8FontFromBytes("go", "", goregular.TTF)
	f.AddUTF8FontFromBytes("go", "B", gobold.TTF)
	f.SetAutoPageBreak(true, p.bottom)
	if len(sheets) > 0 {
		f.SetLang(sheets[0].Language)
		f.SetTitle(sheets[0].Subject, true)
	}
	for i := range sheets {
		before := f.PageCount()
		p.print(f, &sheets[i])
		pages = append(pages, f.PageCount()-before)
	}
	var b bytes.Buffer
	if err := f.Output(&b); err != nil {
		return nil, fmt.Errorf("print letters: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return pages, err
}

func (p *paper) print(f *fpdf.Fpdf, s *Sheet) {
	f.SetMargins(p.left, 27, p.right)
	f.AddPage()
	f.SetAutoPageBreak(false, 0)
	width := p.width - p.left - p.right
	line := func(x, y, w, h float64, style string, size float64, align, text string) {
		f.SetFont("go", style, size)
		f.SetXY(x, y)
		f.CellFormat(w, h, fit(text), "", 0, align, false, 0, "")
	}
	// The sender stands at the head; on DIN paper once more, small, above the address.
	for i, l := range s.Sender {
		style, size := "", 8.5
		if i == 0 {
			style, size = "B", 11
		}
		line(p.left, 12+float64(i)*4.2, width, 4.2, style, size, "R", l)
	}
	if p.senderAt > 0 {
		line(p.addressX, p.senderAt, p.addressWidth, 3.5, "", 6.5, "L", strings.Join(s.Sender, " · "))
		f.SetDrawColor(150, 150, 150)
		f.SetLineWidth(0.1)
		f.Line(p.addressX, p.senderAt+3.8, p.addressX+p.addressWidth, p.senderAt+3.8)
	}
	for i, l := range s.Recipient[:min(len(s.Recipient), p.addressMost)] {
		line(p.addressX, p.addrY+float64(i)*p.addressLine, p.addressWidth, p.addressLine, "", 10, "L", l)
	}
	f.SetDrawColor(120, 120, 120)
	f.SetLineWidth(0.15)
	for _, y := range p.folds {
		f.Line(4, y, 8, y)
	}
	line(p.dateX, p.bodyAt-11, p.width-p.right-p.dateX, 5, "", 10, "R", s.Date)
	if s.Reference != "" {
		line(p.left, p.bodyAt-11, p.dateX-p.left, 5, "", 8.5, "L", s.Reference)
	}
	f.SetAutoPageBreak(true, p.bottom)
	f.SetFont("go", "B", 12)
	f.SetXY(p.left, p.bodyAt)
	f.MultiCell(width, 6, fit(s.Subject), "", "L", false)
	f.Ln(3)
	f.SetFont("go", "", 10.5)
	for paragraph := range strings.SplitSeq(strings.TrimSpace(s.Text), "\n\n") {
		for _, part := range parts(paragraph) {
			f.SetX(p.left)
			if point, ok := strings.CutPrefix(part, "- "); ok {
				f.CellFormat(5, 5.2, "•", "", 0, "L", false, 0, "")
				f.SetLeftMargin(p.left + 5)
				f.MultiCell(width-5, 5.2, fit(point), "", "L", false)
				f.SetLeftMargin(p.left)
				continue
			}
			f.MultiCell(width, 5.2, fit(part), "", "L", false)
		}
		f.Ln(2.6)
	}
}

// parts are a paragraph's points, and its lines in one, as they were wrapped.
func parts(paragraph string) []string {
	var out []string
	for line := range strings.Lines(paragraph) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case strings.HasPrefix(line, "- ") || len(out) == 0 || strings.HasPrefix(out[len(out)-1], "- ") && !strings.HasPrefix(line, "- "):
			out = append(out, line)
		case strings.HasSuffix(out[len(out)-1], ":") || strings.HasSuffix(out[len(out)-1], "."):
			out = append(out, line)
		default:
			out[len(out)-1] += " " + line
		}
	}
	return out
}
