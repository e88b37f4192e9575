package fleet

import (
	"fmt"
	"strings"
)

// CheckUnit reports why code is not a unit of measure in the Unified Code for
// Units of Measure (UCUM, case sensitive), as Cel, kW.h, m/s2, [degF], % or
// {rev}/min. The error says what was probably meant.
func CheckUnit(code string) error {
	if code == "" {
		return fmt.Errorf("a unit of measure must not be empty (a plain number has the unit 1)")
	}
	if len(code) > 80 {
		return fmt.Errorf("a unit of measure has at most 80 characters")
	}
	if hint, ok := slips[strings.ToLower(code)]; ok && hint != code && (neverMeant[code] || !parseUnit(code)) {
		return fmt.Errorf("%q is not a UCUM unit; did you mean %s?", code, hint)
	}
	p := ucumParser{rest: code}
	if err := p.unit(); err != nil {
		return fmt.Errorf("%q is not a UCUM unit: %w", code, err)
	}
	return nil
}

// neverMeant are right in UCUM (milliphot, kilophot, femtotonne), and always a slip.
var neverMeant = map[string]bool{"mph": true, "kph": true, "ft": true}

func parseUnit(code string) bool {
	p := ucumParser{rest: code}
	return p.unit() == nil
}

// ucumParser reads UCUM's grammar: terms of components joined by . and /, each
// a number, an annotation in braces, a term in parentheses, or a symbol with an
// optional exponent and annotation.
type ucumParser struct {
	rest  string
	depth int
}

func (p *ucumParser) take(c byte) bool {
	if p.rest != "" && p.rest[0] == c {
		p.rest = p.rest[1:]
		return true
	}
	return false
}

func (p *ucumParser) unit() error {
	if err := p.term(); err != nil {
		return err
	}
	if p.rest != "" {
		return fmt.Errorf("nothing may follow before %q", p.rest)
	}
	return nil
}

func (p *ucumParser) term() error {
	p.take('/') // "/min" is one per minute
	for {
		if err := p.component(); err != nil {
			return err
		}
		if !p.take('.') && !p.take('/') {
			return nil
		}
	}
}

func (p *ucumParser) component() error {
	if p.rest == "" {
		return fmt.Errorf("it ends where a unit is expected")
	}
	if p.take('(') {
		if p.depth++; p.depth > 8 {
			return fmt.Errorf("parentheses are nested too deep")
		}
		if err := p.term(); err != nil {
			return err
		}
		p.depth--
		if !p.take(')') {
			return fmt.Errorf("a ) is missing")
		}
		return nil
	}
	if p.rest[0] == '{' {
		return p.annotation()
	}
	symbol, err := p.symbol()
	if err != nil {
		return err
	}
	if err := checkSymbol(symbol); err != nil {
		return err
	}
	if p.rest != "" && p.rest[0] == '{' {
		return p.annotation()
	}
	return nil
}

func (p *ucumParser) annotation() error {
	text, rest, ok := strings.Cut(p.rest[1:], "}")
	if !ok {
		return fmt.Errorf("a } is missing")
	}
	if strings.ContainsAny(text, "{") || strings.ContainsFunc(text, func(r rune) bool { return r < '!' || r > '~' }) {
		return fmt.Errorf("an annotation in {} holds visible ASCII characters without blanks")
	}
	p.rest = rest
	return nil
}

// symbol cuts off what belongs to one symbol with its exponent; brackets hold any character.
func (p *ucumParser) symbol() (string, error) {
	inside := false
	end := len(p.rest)
scan:
	for i := range len(p.rest) {
		switch c := p.rest[i]; {
		case c == '[':
			if inside {
				return "", fmt.Errorf("a [ stands inside [ ]")
			}
			inside = true
		case c == ']':
			if !inside {
				return "", fmt.Errorf("a ] has no [")
			}
			inside = false
		case !inside && strings.IndexByte("./(){}", c) >= 0:
			end = i
			break scan
		}
	}
	if inside {
		return "", fmt.Errorf("a ] is missing")
	}
	if end == 0 {
		return "", fmt.Errorf("a unit is expected before %q", p.rest)
	}
	symbol := p.rest[:end]
	p.rest = p.rest[end:]
	return symbol, nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func checkSymbol(symbol string) error {
	base := symbol
	for base != "" && isDigit(base[len(base)-1]) {
		base = base[:len(base)-1]
	}
	if base == "" {
		return nil // a number
	}
	if len(base) < len(symbol) && len(base) > 1 && (base[len(base)-1] == '-' || base[len(base)-1] == '+') {
		base = base[:len(base)-1]
	}
	t := atoms()
	if t.known(base) {
		return nil
	}
	if hint := suggest(t, base); hint != "" {
		return fmt.Errorf("%q is not known; did you mean %s?", base, hint)
	}
	return fmt.Errorf("%q is not known (see https://ucum.org)", base)
}

// suggest finds what was probably meant by an unknown symbol.
func suggest(t *atomTable, symbol string) string {
	lower := strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(symbol, "µ", "u"), "μ", "u"))
	if hint, ok := slips[lower]; ok {
		return hint
	}
	if hint, ok := t.folded[lower]; ok {
		return hint
	}
	if hint, ok := t.folded["["+lower+"]"]; ok {
		return hint
	}
	if head, ok := strings.CutSuffix(lower, "s"); ok && len(head) > 2 {
		return suggest(t, head)
	}
	return ""
}

// temperatureSlip catches two codes that are right in UCUM and hardly ever meant.
func temperatureSlip(code string, texts ...string) string {
	hint := map[string]string{"C": "Cel (C is coulomb, a charge)", "F": "[degF] (F is farad, a capacitance)"}[code]
	if hint == "" {
		return ""
	}
	for _, text := range texts {
		if strings.Contains(strings.ToLower(text), "temp") {
			return hint
		}
	}
	return ""
}
