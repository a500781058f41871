package gpu

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// MaxPack is how many models Pack takes: all ways to put so many on their
// cards are looked at within a fraction of a second.
const MaxPack = 12

// Place is where a model goes that runs beside others.
type Place struct {
	Model string `json:"model"`
	// GPU is the card's UUID, or its index where that is not known; cpu for none.
	GPU    string  `json:"gpu"`
	NeedMi float64 `json:"need_mib"`
	// Name is the card's.
	Name string `json:"gpu_name,omitempty"`
}

// Pack says which of the models run at once, each on one card. The order given
// is the priority: a model is left to the CPU only where it cannot run beside
// all that were taken before it, however those are placed. Each model is put
// on the card with the most room left that leaves the models behind it a
// place; of cards with equal room, on the first. Reserve, in MiB, stays free
// on each card. There may be MaxPack models, each with a name of its own.
func Pack(models []Model, cards []Card, reserve float64) ([]Place, error) {
	if len(models) > MaxPack {
		return nil, fmt.Errorf("%d models: at most %d can be placed at once", len(models), MaxPack)
	}
	for i, m := range models {
		switch {
		case slices.ContainsFunc(models[:i], func(other Model) bool { return other.Name == m.Name }):
			return nil, fmt.Errorf("%q is named twice", m.Name)
		case m.PerItem > 0:
			return nil, errors.New("no batch is chosen for models side by side: give the size with its batch")
		}
	}
	// With more cards than models, those with the most room are enough.
	var order []int
	for i, c := range cards {
		if c.Usable() && c.Free.Known {
			order = append(order, i)
		}
	}
	for len(order) > len(models) {
		least := len(order) - 1
		for i := range order {
			if cards[order[i]].room(reserve) < cards[order[least]].room(reserve) {
				least = i
			}
		}
		order = slices.Delete(order, least, least+1)
	}
	room := make([]float64, len(order))
	for i, card := range order {
		room[i] = math.Floor(cards[card].room(reserve))
	}
	var taken []float64
	places := make([]Place, len(models))
	for i, m := range models {
		need := math.Ceil(m.Size) // whole MiB, so that sums are exact
		places[i] = Place{Model: m.Name, GPU: "cpu", NeedMi: need}
		if packable(append(slices.Clip(taken), need), room) {
			taken = append(taken, need)
			places[i].GPU = "" // the card is chosen below
		}
	}
	for i, p := range places {
		if p.GPU != "" {
			continue
		}
		taken = taken[1:]
		best := -1
		for k, left := range room {
			if left < p.NeedMi || best >= 0 && left <= room[best] {
				continue
			}
			room[k] -= p.NeedMi
			if packable(taken, room) {
				best = k
			}
			room[k] = left
		}
		room[best] -= p.NeedMi
		card := cards[order[best]]
		places[i].GPU, places[i].Name = card.ID(), card.Name
	}
	return places, nil
}

// packable says whether all needs fit into the rooms, each into one. It goes
// through all subsets that the rooms so far may hold: at most 3ⁿ steps a room.
func packable(needs, rooms []float64) bool {
	all := 1<<len(needs) - 1
	sum := make([]float64, all+1)
	for set := 1; set <= all; set++ {
		for i, need := range needs {
			if set&(1<<i) != 0 {
				sum[set] = sum[set&^(1<<i)] + need
				break
			}
		}
	}
	held := make([]bool, all+1) // the sets that the rooms so far can hold
	held[0] = true
	for _, room := range rooms {
		next := slices.Clone(held)
		for set, ok := range held {
			if !ok {
				continue
			}
			rest := all &^ set
			for more := rest; more > 0; more = (more - 1) & rest {
				if sum[more] <= room {
					next[set|more] = true
				}
			}
		}
		held = next
	}
	return held[all]
}

// ID names the card as CUDA_VISIBLE_DEVICES takes it: the UUID, which does not
// depend on CUDA's order of devices, or the index where there is none.
func (c Card) ID() string {
	if c.UUID == "" {
		return fmt.Sprint(c.Index)
	}
	for _, r := range c.UUID {
		if !(r == '-' || r == '/' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return fmt.Sprint(c.Index)
		}
	}
	return c.UUID
}
