package client

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"
)

// FirstColumn reads units' ids from the first column of a CSV file; a header
// "unit" or "id" is left out.
func FirstColumn(r io.Reader) ([]string, error) {
	cr := csv.NewReader(r)
	cr.FieldsPerRecord = -1
	cr.TrimLeadingSpace = true
	rows, err := cr.ReadAll()
	if err != nil {
		return nil, err
	}
	var out []string
	for i, cells := range rows {
		id := strings.TrimSpace(strings.TrimPrefix(cells[0], "\ufeff"))
		if id == "" || i == 0 && (strings.EqualFold(id, "unit") || strings.EqualFold(id, "id")) {
			continue
		}
		out = append(out, id)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("expected a unit's id in the first column")
	}
	return out, nil
}
