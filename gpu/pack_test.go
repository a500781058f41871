package gpu

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// sized makes cards with so much free memory, in MiB.
func sized(free ...float64) []Card {
	var cards []Card
	for i, f := range free {
		cards = append(cards, Card{Index: i, Name: "card", UUID: fmt.Sprintf("GPU-%d", i), Free: known(f)})
	}
	return cards
}

func named(sizes ...float64) []Model {
	var models []Model
	for i, s := range sizes {
		models = append(models, Model{Name: string(rune('a' + i)), Size: s})
	}
	return models
}

func placed(places []Place) string {
	var parts []string
	for _, p := range places {
		parts = append(parts, p.Model+"="+strings.TrimPrefix(p.GPU, "GPU-"))
	}
	return strings.Join(parts, " ")
}

func TestPack(t *testing.T) {
	broken := sized(9000, 9000, 9000, 9000)
	broken[0].Fault, broken[1].Recovery, broken[2].Free = "GPU is lost", RecoveryDrainAndReset, Figure{}
	for _, c := range []struct {
		models  []Model
		cards   []Card
		reserve float64
		want    string
	}{
		{named(6000, 1000), sized(8000), 0, "a=0 b=0"},
		{named(6000, 1000), sized(8000), 1000, "a=0 b=0"},
		{named(6000, 1000), sized(8000), 1001, "a=0 b=cpu"},
		{named(6000, 1000), sized(8000, 8000), 0, "a=0 b=1"},                 // side by side, each with room
		{named(1000, 6000), sized(2000, 8000), 0, "a=1 b=1"},                 // the most room left that leaves b a place
		{named(3000, 6000), sized(4000, 8000), 0, "a=0 b=1"},                 // not the most room: b would have none
		{named(9000, 6000, 1000), sized(8000), 0, "a=cpu b=0 c=0"},           // what fits nowhere stands in nobody's way
		{named(5000, 4000, 3000), sized(8000), 0, "a=0 b=cpu c=0"},           // the order is the priority
		{named(4, 3, 3, 2, 2, 2), sized(8, 8), 0, "a=0 b=1 c=1 d=0 e=0 f=1"}, // exact: the greatest first, wherever there is most room, leaves f out
		{named(5, 5), sized(1, 9, 2, 6, 9), 0, "a=1 b=4"},                    // of equal cards the first
		{named(1000), broken, 0, "a=3"},
		{named(1), nil, 0, "a=cpu"},
		{[]Model{{Name: "a"}}, []Card{{Fault: "GPU is lost"}}, 0, "a=cpu"}, // even nothing needs a card that answers
		{[]Model{{Name: "a", Size: 0.5}, {Name: "b", Size: 0.5}}, sized(1), 0, "a=0 b=cpu"},
		{named(1, 1, 1), sized(1, 1), 0, "a=0 b=1 c=cpu"},
	} {
		places, err := Pack(c.models, c.cards, c.reserve)
		if got := placed(places); err != nil || got != c.want {
			t.Errorf("%v on %v: %s, %v, want %s", c.models, c.cards, got, err, c.want)
		}
	}
	for _, bad := range [][]Model{make([]Model, MaxPack+1), {{Name: "a"}, {Name: "a"}}, {{Name: "a", Size: 1, PerItem: 1}}} {
		if _, err := Pack(bad, sized(100), 0); err == nil {
			t.Errorf("%v was placed", bad)
		}
	}
}

// Pack finds the best set that there is, by all assignments that there are, and
// what it says can be done.
func TestPackIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var sizes, free []float64
		for range 1 + r.IntN(6) {
			sizes = append(sizes, float64(1+r.IntN(9)))
		}
		for range 1 + r.IntN(4) {
			free = append(free, float64(r.IntN(14)))
		}
		models, cards := named(sizes...), sized(free...)
		places, err := Pack(models, cards, 0)
		if err != nil {
			t.Fatal(err)
		}
		left := append([]float64(nil), free...)
		got := make([]bool, len(sizes))
		for i, p := range places {
			if got[i] = p.GPU != "cpu"; got[i] {
				var card int
				fmt.Sscanf(p.GPU, "GPU-%d", &card)
				if left[card] -= sizes[i]; left[card] < 0 {
					t.Fatalf("%v on %v: %s is too much", sizes, free, placed(places))
				}
			}
		}
		if want := bestSet(sizes, free, make([]bool, len(sizes)), 0); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%v on %v: %v, want %v", sizes, free, got, want)
		}
	}
}

// bestSet goes through all assignments from the i-th model on, and returns the
// set that has the earlier models.
func bestSet(sizes, free []float64, taken []bool, i int) []bool {
	if i == len(sizes) {
		return append([]bool(nil), taken...)
	}
	better := func(a, b []bool) bool {
		for k := range a {
			if b == nil || a[k] != b[k] {
				return b == nil || a[k]
			}
		}
		return false
	}
	best := bestSet(sizes, free, taken, i+1)
	for k := range free {
		if free[k] < sizes[i] {
			continue
		}
		free[k] -= sizes[i]
		taken[i] = true
		if got := bestSet(sizes, free, taken, i+1); better(got, best) {
			best = got
		}
		taken[i] = false
		free[k] += sizes[i]
	}
	return best
}

// As many models and cards as there may be. Of five cards one holds two.
func TestPackTheMost(t *testing.T) {
	var sizes, free []float64
	for i := range MaxPack {
		sizes = append(sizes, float64(1001+2*i))
	}
	for i := range 64 {
		free = append(free, float64(2000+i%7))
	}
	places, err := Pack(named(sizes...), sized(free...), 0)
	if err != nil || strings.Contains(placed(places), "cpu") {
		t.Error(placed(places), err)
	}
	places, err = Pack(named(sizes...), sized(free[:5]...), 0)
	if err != nil || strings.Count(placed(places), "cpu") != 6 {
		t.Error(placed(places), err)
	}
}

func TestCardID(t *testing.T) {
	for uuid, want := range map[string]string{
		"GPU-5c89852c-d268": "GPU-5c89852c-d268", "MIG-GPU-5c89852c/7/0": "MIG-GPU-5c89852c/7/0", "": "3", "[Unknown Error]": "3", "GPU-1; reboot": "3", "GPU-1\nx=$(y)": "3",
	} {
		if got := (Card{Index: 3, UUID: uuid}).ID(); got != want {
			t.Errorf("%q: %q, want %q", uuid, got, want)
		}
	}
}
