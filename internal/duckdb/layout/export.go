package layout

import (
	"fmt"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/telemetry"
)

// Export is the statements that make an export's table of units, in the
// connection's own temporary space, and the query for its rows; "" when there
// can be none.
func (p *Product) Export(q *telemetry.ExportQuery) (units []string, query string) {
	units = []string{"CREATE OR REPLACE TEMP TABLE export_units (unit BIGINT, id VARCHAR, may INTEGER)"}
	may := map[string]int{} // units with the same signals are of one group
	var sets [][]string
	for some := range slices.Chunk(q.Units, 1000) {
		var b strings.Builder
		for i, u := range some {
			set := strings.Join(u.Signals, "\x00")
			group, ok := may[set]
			if !ok {
				group = len(sets)
				may[set], sets = group, append(sets, u.Signals)
			}
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "(%s, %s, %d)", Bigint(u.Key), Quote(u.ID), group)
		}
		units = append(units, "INSERT INTO export_units VALUES "+b.String())
	}

	var span Pick
	span.Bound(q.From, q.To)
	names := exportNames(q.Signals)
	var sources []string
	for _, s := range p.Segments {
		if !s.Overlaps(span.First, span.Last) {
			continue
		}
		columns := []string{
			"u.id AS unit_id", "to_timestamp(r.event / 1000.0) AS event_time", "to_timestamp(r.received / 1000.0) AS receive_time", "r.sequence AS sequence",
		}
		var some []string
		for i, signal := range q.Signals {
			column, ok := p.Find(signal.Name, signal.Type == "text")
			value := exportNull[signal.Type]
			if groups := allowed(sets, signal.Name); ok && s.Holds(column) && len(groups) > 0 {
				v := "r." + ColumnName(column)
				if signal.Type == "boolean" {
					v = "(" + v + " <> 0)"
				}
				value = fmt.Sprintf("CASE WHEN u.may IN (%s) THEN %s END", strings.Join(groups, ", "), v)
				some = append(some, names[i]+" IS NOT NULL")
			}
			columns = append(columns, value+" AS "+names[i])
		}
		if len(some) > 0 {
			sources = append(sources, fmt.Sprintf("SELECT * FROM (SELECT %s FROM %s r JOIN export_units u USING (unit)%s) WHERE %s",
				strings.Join(columns, ", "), s.Table, Where(span.Where(s)), strings.Join(some, " OR ")))
		}
	}
	return units, strings.Join(sources, " UNION ALL ")
}

var exportNull = map[string]string{"number": "NULL::DOUBLE", "boolean": "NULL::BOOLEAN", "text": "NULL::VARCHAR"}

// allowed are the groups whose units' signal may be given.
func allowed(sets [][]string, signal string) []string {
	var out []string
	for group, set := range sets {
		if slices.Contains(set, signal) {
			out = append(out, fmt.Sprint(group))
		}
	}
	return out
}

// exportNames are the names of the signals' columns. One that is taken, also in
// other case, goes on with an underscore.
func exportNames(signals []telemetry.ExportSignal) []string {
	taken := map[string]bool{"unit_id": true, "event_time": true, "receive_time": true, "sequence": true}
	var names []string
	for _, s := range signals {
		name := s.Name
		for taken[strings.ToLower(name)] {
			name += "_"
		}
		taken[strings.ToLower(name)] = true
		names = append(names, `"`+strings.ReplaceAll(name, `"`, `""`)+`"`)
	}
	return names
}
