package gpu

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Model is something that may be loaded, with the memory that it needs.
type Model struct {
	Name string
	// Size and PerItem, what each item of a batch takes on top, are in MiB;
	// PerItem is 0 where batches are not asked for.
	Size, PerItem float64
}

// ParseModel reads NAME=SIZE or NAME=SIZE+PER_ITEM.
func ParseModel(text string) (Model, error) {
	name, rest, ok := strings.Cut(text, "=")
	// The last = : names such as hf.co/x?y=z may hold one.
	if i := strings.LastIndex(text, "="); ok {
		name, rest = text[:i], text[i+1:]
	}
	if !ok || name == "" || strings.ContainsAny(name, " \t\n") {
		return Model{}, errors.New("want NAME=SIZE or NAME=SIZE+PER_ITEM, such as llama3:8b=6GiB+512MiB")
	}
	m := Model{Name: name}
	size, per, hasPer := strings.Cut(rest, "+")
	var err error
	if m.Size, err = ParseSize(size); err != nil {
		return m, err
	}
	if hasPer {
		if m.PerItem, err = ParseSize(per); err == nil && m.PerItem == 0 {
			err = errors.New("an item takes more than nothing")
		}
	}
	return m, err
}

// units are in bytes: the decimal ones are powers of 1000, as vendors write.
var units = []struct {
	suffix string
	bytes  float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1 << 40},
}

// ParseSize reads an amount of memory such as 6GiB, 6.5GB or 512MiB, and
// returns MiB. The letter alone means the binary unit.
func ParseSize(text string) (float64, error) {
	lower := strings.ToLower(strings.TrimSpace(text))
	for _, u := range units {
		number, ok := strings.CutSuffix(lower, u.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(v >= 0) || v*u.bytes > 1e18 {
			break
		}
		return v * u.bytes / (1 << 20), nil
	}
	return 0, fmt.Errorf("%q is not a size such as 6GiB, 6.5GB or 512MiB", text)
}

// Choice is what was decided about one model.
type Choice struct {
	Model  string  `json:"model"`
	Fits   bool    `json:"fits"`
	NeedMi float64 `json:"need_mib"`
	HaveMi float64 `json:"have_mib"`
	Batch  int     `json:"batch,omitempty"`
	Why    string  `json:"why"`
}

// Available is the memory, in MiB, that a model may take: the largest free
// memory of one card, or the sum over all with split, less the reserve of each
// card that counts.
func Available(cards []Card, reserve float64, split bool) float64 {
	best, sum := 0.0, 0.0
	for _, c := range cards {
		free := c.room(reserve)
		best = math.Max(best, free)
		sum += free
	}
	if split {
		return sum
	}
	return best
}

// room is the memory, in MiB, that models may take of a card.
func (c Card) room(reserve float64) float64 {
	if !c.Usable() {
		return 0
	}
	return math.Max(0, c.Free.Value-reserve)
}

// Fit goes through the models in the order given, and says of each whether it
// fits into have MiB. The first that fits is the choice; -1 is none: the CPU.
func Fit(models []Model, have float64) (choices []Choice, chosen int) {
	chosen = -1
	for i, m := range models {
		need := m.Size + m.PerItem // a batch of at least one item
		c := Choice{Model: m.Name, Fits: need <= have, NeedMi: math.Ceil(need), HaveMi: math.Floor(have)}
		c.Why = fmt.Sprintf("needs %.0f MiB, %.0f MiB are free", c.NeedMi, c.HaveMi)
		if c.Fits && m.PerItem > 0 {
			c.Batch = int(math.Min((have-m.Size)/m.PerItem, math.MaxInt32))
			c.Why += fmt.Sprintf(", batch of %d", c.Batch)
		}
		if c.Fits && chosen < 0 {
			chosen = i
		}
		choices = append(choices, c)
	}
	return choices, chosen
}
