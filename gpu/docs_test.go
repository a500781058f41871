package gpu

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// idle is what the driver leaves of each of the cards: its total less what it
// reserves, by the captured answers.
func idle(t *testing.T, file string) Card {
	t.Helper()
	s, err := parse535(captured(t, file))
	if err != nil {
		t.Fatal(err)
	}
	c := s.Cards[0]
	c.Fault, c.Recovery = "", ""
	c.Free = known(c.Free.Value + c.Used.Value)
	return c
}

// docs/gpu.md's table of what fits on which card is what Fit and Pack say.
func TestDocsSayWhatFits(t *testing.T) {
	const marker, reserve = "<!-- the tests compute this table -->\n", 1024
	cards := []Card{idle(t, "t4"), idle(t, "rtx4090"), idle(t, "a100-40"), idle(t, "a6000"), idle(t, "a100-80")}
	var table strings.Builder
	table.WriteString("| model | needs | T4 | RTX 4090 | A100 40 GB | A6000 | A100 80 GB |\n|---|---|---|---|---|---|---|\n| free on the idle card | |")
	for _, c := range cards {
		fmt.Fprintf(&table, " %.1f GiB |", c.Free.Value/1024)
	}
	table.WriteString("\n")
	const context = 8192.0
	kv := func(layers, heads, size float64) float64 { return 2 * layers * heads * size * context * 2 / (1 << 20) }
	for _, row := range []struct {
		says   string
		models []string // with the sizes of their weights
		kv     []float64
	}{
		{"nomic-embed-text, 16 bits", []string{"a=274MB"}, []float64{0}},
		{"Llama 3.1 8B, 4 bits (Q4_K_M), 8192 tokens", []string{"a=4.9GB"}, []float64{kv(32, 8, 128)}},
		{"the two side by side (`--all`)", []string{"a=4.9GB", "b=274MB"}, []float64{kv(32, 8, 128), 0}},
		{"Llama 3.1 8B, 16 bits, 8192 tokens", []string{"a=16.1GB"}, []float64{kv(32, 8, 128)}},
		{"Qwen2.5 32B, 4 bits (Q4_K_M), 8192 tokens", []string{"a=19.9GB"}, []float64{kv(64, 8, 128)}},
		{"Llama 3.1 70B, 4 bits (Q4_K_M), 8192 tokens", []string{"a=42.5GB"}, []float64{kv(80, 8, 128)}},
		{"the same and nomic-embed-text side by side", []string{"a=42.5GB", "b=274MB"}, []float64{kv(80, 8, 128), 0}},
	} {
		var models []Model
		needs := 0.0
		for i, text := range row.models {
			m, err := ParseModel(text)
			if err != nil {
				t.Fatal(err)
			}
			m.Size += row.kv[i]
			needs += m.Size
			models = append(models, m)
		}
		fmt.Fprintf(&table, "| %s | %.1f GiB |", row.says, needs/1024)
		for _, c := range cards {
			fits := true
			if len(models) == 1 {
				_, chosen := Fit(models, Available([]Card{c}, reserve, false))
				fits = chosen == 0
			} else {
				places, err := Pack(models, []Card{c}, reserve)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range places {
					fits = fits && p.GPU == c.UUID
				}
			}
			table.WriteString(map[bool]string{true: " yes |", false: " `cpu` |"}[fits])
		}
		table.WriteString("\n")
	}
	page, err := os.ReadFile("../docs/gpu.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), marker)
	old, after, ok2 := strings.Cut(rest, "\n\n")
	if !ok || !ok2 {
		t.Fatal("docs/gpu.md has no such table")
	}
	if old+"\n" == table.String() {
		return
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		t.Fatalf("docs/gpu.md has another table (UPDATE_DOCS=1 writes it); want\n%s", table.String())
	}
	if err := os.WriteFile("../docs/gpu.md", []byte(before+marker+table.String()+"\n"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
