package protocol

import (
	"slices"
	"testing"
	"unicode"

	"github.com/xdg-go/stringprep"
)

// The tables are those of the RFC.
func TestSASLPrepTables(t *testing.T) {
	var forbidden []stringprep.Set
	forbidden = append(forbidden, stringprep.TableA1, stringprep.TableC1_2, stringprep.TableC2_1, stringprep.TableC2_2, stringprep.TableC3,
		stringprep.TableC4, stringprep.TableC5, stringprep.TableC6, stringprep.TableC7, stringprep.TableC8, stringprep.TableC9)
	for name, c := range map[string]struct {
		table string
		sets  []stringprep.Set
	}{
		"forbidden":  {prepForbidden, forbidden},
		"from right": {prepFromRight, []stringprep.Set{stringprep.TableD1}},
		"from left":  {prepFromLeft, []stringprep.Set{stringprep.TableD2}},
	} {
		in := runesOf(c.table)
		// All are ranges: where none begins or ends, nothing changes.
		edges := append(edgesOf(c.table), 0, unicode.MaxRune)
		for _, s := range c.sets {
			for _, rs := range s {
				edges = append(edges, rs[0], rs[1]+1)
			}
		}
		for _, edge := range edges {
			for r := max(0, edge-1); r <= min(edge+1, unicode.MaxRune); r++ {
				want := slices.ContainsFunc(c.sets, func(s stringprep.Set) bool { return s.Contains(r) })
				if in(r) != want {
					t.Fatalf("%s: %U is %t, want %t", name, r, in(r), want)
				}
			}
		}
	}
}

// FuzzSASLPrep: a password is written as the RFC says, or as it is where the
// RFC forbids it.
func FuzzSASLPrep(f *testing.F) {
	for _, pw := range []string{"hunter2", "p\u00e4ss", "pa\u0308ss", "I\u00adX", "\u2168", "a\u00a0b\u3000c", "\U0001f600\ufb01", "\u0627\u0031", "\u0627a\u0627", "\u0627\u0628", "\u200b", "", "\xff\ufb01", "a\x00\ufb01", "\u0221\ufb01", "\u1680", "\u00b2\u0627", "\u0627\u00b2", "\u0627\u00b2\u0627", "\u0627\ufb01\u0627"} {
		f.Add(pw)
	}
	f.Fuzz(func(t *testing.T, pw string) {
		want, err := stringprep.SASLprep.Prepare(pw)
		if err != nil {
			want = pw
		}
		if got := saslPrep(pw, false); got != want {
			t.Errorf("%q: %q, want %q (%v)", pw, got, want, err)
		}
	})
}
