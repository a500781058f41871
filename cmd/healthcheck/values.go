package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"healthcheck/cmd/flags"
	"healthcheck/gpu"
)

// The values of flags. Each says in its error what it wants.

type durationValue time.Duration

func (d *durationValue) String() string { return time.Duration(*d).String() }

func (d *durationValue) Type() string { return "DURATION" }

func (d *durationValue) Set(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil || v <= 0 {
		return flags.Want("want a duration above 0 with its unit, such as 30s or 500ms")
	}
	*d = durationValue(v)
	return nil
}

type percentValue float64

func (p *percentValue) String() string {
	if *p == 0 {
		return "off"
	}
	return strconv.FormatFloat(float64(*p), 'g', -1, 64)
}

func (p *percentValue) Type() string { return "PERCENT" }

func (p *percentValue) Set(s string) error {
	if strings.EqualFold(s, "off") {
		*p = 0
		return nil
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !(v > 0 && v <= 100) {
		return flags.Want("want a percentage above 0 and up to 100, or off")
	}
	*p = percentValue(v)
	return nil
}

// sizeValue is an amount of memory in MiB; 0 is off.
type sizeValue float64

func (v sizeValue) bytes() float64 { return float64(v) * (1 << 20) }

func (v *sizeValue) String() string {
	if *v == 0 {
		return "off"
	}
	return fmt.Sprintf("%gMiB", float64(*v))
}

func (v *sizeValue) Type() string { return "SIZE" }

func (v *sizeValue) Set(s string) error {
	if strings.EqualFold(s, "off") {
		*v = 0
		return nil
	}
	size, err := gpu.ParseSize(s)
	if err != nil || size == 0 {
		return flags.Want("want a size such as 6GiB, 6.5GB or 512MiB, or off")
	}
	*v = sizeValue(size)
	return nil
}

// limitValue is a whole number that is a limit, or off.
type limitValue gpu.Figure

func (v *limitValue) String() string {
	if !v.Known {
		return "off"
	}
	return strconv.FormatFloat(v.Value, 'f', -1, 64)
}

func (v *limitValue) Type() string { return "NUMBER" }

func (v *limitValue) Set(s string) error {
	if strings.EqualFold(s, "off") {
		*v = limitValue{}
		return nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return flags.Want("want a whole number, or off")
	}
	*v = limitValue{Value: float64(n), Known: true}
	return nil
}

// headerPattern is compiled when a variable is split, which few runs do.
var headerPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+.^_|~-]+:`) })

func headerStart(s string) bool { return headerPattern().MatchString(s) }
