package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"healthcheck/e2e/browser"
)

// past writes what an earlier run of the watchdog would have left: a page that
// shows a day says more than one that shows a minute.
func past(stateFile string, now time.Time) error {
	var history strings.Builder
	decide := func(ago time.Duration, service, phase, event, rest string) {
		fmt.Fprintf(&history, `{"time":%q,"service":"%s/%s/1","phase":%q,"event":%q,%s}`+"\n", now.Add(-ago).Format(time.RFC3339Nano), project, service, phase, event, rest)
	}
	quiet := `"severity":"info","what":"stable"`
	for _, c := range services {
		decide(23*time.Hour, c.name, "", "stable", quiet)
	}
	decide(9*time.Hour, "qdrant", "restarting", "restarting", `"severity":"info","what":"restart 1 of 3","attempt":1`)
	decide(9*time.Hour-time.Second, "qdrant", "verifying", "restarted", `"severity":"warning","alert":true,"attempt":1,"what":"restarted (1 of 3): qdrant://localhost:6333: the collection documents is red"`)
	decide(9*time.Hour-5*time.Second, "api", "held", "held", `"severity":"info","what":"held: waits for `+project+`/qdrant/1"`)
	decide(9*time.Hour-12*time.Minute, "qdrant", "", "recovered", `"severity":"info","alert":true,"closes":true,"what":"recovered in 12m0s, by restart 1"`)
	decide(9*time.Hour-13*time.Minute, "api", "", "healthy_again", `"severity":"info","what":"healthy again"`)
	return errors.Join(
		os.WriteFile(strings.TrimSuffix(stateFile, ".json")+".history.jsonl", []byte(history.String()), 0o600),
		os.WriteFile(stateFile, fmt.Appendf(nil, `{"version":2,"saved":%q}`, now.Format(time.RFC3339Nano)), 0o600))
}

// page returns a picture of the watchdog's page, with the page's text in it.
func (s *system) page(ctx context.Context) ([]byte, error) {
	log, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return nil, err
	}
	address := regexp.MustCompile(`event=listening address=(\S+)`).FindSubmatch(log)
	if address == nil {
		return nil, fmt.Errorf("the watchdog does not listen: %s", log)
	}
	dir := filepath.Join(s.dir, "c") // for sockets, whose paths are short
	chromium, stop, err := browser.Start(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer stop()
	tab, err := browser.Open(chromium, "http://"+string(address[1])+"/", browser.View{Width: 960, Height: 600})
	if err != nil {
		return nil, err
	}
	err = poll(ctx, func() (string, bool) {
		ready, err := browser.Eval[bool](tab, `document.getElementById("link").textContent === "live" && document.querySelectorAll(".checks").length === 3`)
		return fmt.Sprint(err), err == nil && ready
	})
	if err != nil {
		return nil, err
	}
	text, err := browser.Eval[string](tab, `document.querySelector("main").innerText`)
	if err != nil {
		return nil, err
	}
	shot, err := tab.Screenshot()
	if err != nil {
		return nil, err
	}
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return nil, err
	}
	bottom, err := browser.Eval[float64](tab, `document.querySelector("main").getBoundingClientRect().bottom + scrollY`)
	if err != nil {
		return nil, err
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, fewColours(picture, int(bottom)+16)); err != nil {
		return nil, err
	}
	return withText(small.Bytes(), text), nil
}

// fewColours is the upper part of a picture in its 256 most frequent colours,
// which makes it a third as large.
func fewColours(picture image.Image, height int) image.Image {
	part := picture.Bounds()
	part.Max.Y = min(part.Max.Y, part.Min.Y+height)
	count := map[color.Color]int{}
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			count[picture.At(x, y)]++
		}
	}
	colours := slices.Collect(maps.Keys(count))
	slices.SortFunc(colours, func(a, b color.Color) int { return cmp.Compare(count[b], count[a]) })
	out := image.NewPaletted(part, colours[:min(len(colours), 256)])
	for y := part.Min.Y; y < part.Max.Y; y++ {
		for x := part.Min.X; x < part.Max.X; x++ {
			out.Set(x, y, picture.At(x, y))
		}
	}
	return out
}

// withText puts a text into a PNG, as an iTXt chunk behind the header: a test
// compares it with what the page says today.
func withText(picture []byte, text string) []byte {
	const header = 8 + 25 // the signature, and the chunk IHDR
	data := append([]byte("iTXtComment\x00\x00\x00\x00\x00"), text...)
	var out bytes.Buffer
	out.Write(picture[:header])
	binary.Write(&out, binary.BigEndian, uint32(len(data)-4))
	out.Write(data)
	binary.Write(&out, binary.BigEndian, crc32.ChecksumIEEE(data))
	out.Write(picture[header:])
	return out.Bytes()
}
