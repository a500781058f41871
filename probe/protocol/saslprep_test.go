package protocol

import (
	"testing"
	"unicode"

	"github.com/xdg-go/stringprep"
)

// The tables are those of the RFC, rune by rune.
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
		for r := rune(0); r <= unicode.MaxRune; r++ {
			want := false
			for _, s := range c.sets {
				want = want || s.Contains(r)
			}
			if in(r) != want {
				t.Fatalf("%s: %U is %t, want %t", name, r, in(r), want)
			}
		}
	}
}

// FuzzSASLPrep: a password is written as the RFC says, or as it is where the
// RFC forbids it.
func FuzzSASLPrep(f *testing.F) {
	for _, pw := range []string{"hunter2", "p\u00e4ss", "pa\u0308ss", "I\u00adX", "\u2168", "a\u00a0b\u3000c", "\U0001f600\ufb01", "\u0627\u0031", "\u0627a\u0627", "\u0627\u0628", "\u200b", "", "\xff\ufb01", "a\x00\ufb01", "\u0221\ufb01", "\u1680"} {
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
