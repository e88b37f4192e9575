package fault

import "strings"

// Nearest is the known name that a mistyped one was probably meant to be: at
// most two edits away (Levenshtein), case aside; "" where none is.
func Nearest(got string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if n := distance(strings.ToLower(got), strings.ToLower(k)); n < least && n < len(k) {
			best, least = k, n
		}
	}
	return best
}

// distance counts the edits between two words, giving up on long ones.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
