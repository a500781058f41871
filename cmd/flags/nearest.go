package flags

// Nearest returns the candidate that is closest to what was written, if any
// is close enough to be meant.
func Nearest(s string, candidates []string) string {
	best, bestDistance := "", len(s)/3+2
	for _, c := range candidates {
		if d := Distance(s, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// Distance is Levenshtein's: the edits between two short texts.
func Distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			edit := diagonal
			if a[i-1] != b[j-1] {
				edit++
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, edit)
		}
	}
	return row[len(b)]
}
