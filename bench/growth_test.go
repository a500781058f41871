package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestGrowthIsReadAndDrawn(t *testing.T) {
	all, others := readGrowth(`goos: linux
BenchmarkGrowth/containers=10/figures=false-2         	       1	4461803333 ns/op	        21.09 MiB/peak	         6.116 cpu-ms/minute	         3.286 ms/restart
BenchmarkGrowth/containers=10000/figures=true-16         	       1	4435328728 ns/op	        61.46 MiB/peak	         4000 cpu-ms/minute	        11.21 ms/restart
BenchmarkMassFailure/containers=100-2         	       1	1205965480 ns/op	        22.60 MiB/peak	         0.1108 cpu-s/failure
PASS
`)
	if len(all) != 2 || all[0] != (grown{10, false, 6.116, 21.09, 3.286}) || all[1] != (grown{10_000, true, 4000, 61.46, 11.21}) {
		t.Errorf("%+v", all)
	}
	if len(others) != 1 || others["MassFailure/containers=100"]["cpu-s/failure"] != 0.1108 {
		t.Errorf("%+v", others)
	}
	circles := 0
	picture := xml.NewDecoder(strings.NewReader(pictureGrowth(all)))
	for {
		token, err := picture.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "circle" {
			circles++
		}
	}
	if circles != 3*len(all) {
		t.Errorf("%d points, want three for each", circles)
	}
}
