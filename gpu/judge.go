package gpu

import (
	"fmt"
	"strings"
)

// Limits are what a card must keep. A zero Figure is no limit.
type Limits struct {
	// Count is how many GPUs there must be at least.
	Count int
	// MinFree is in MiB; MaxMem and MaxUtil are in percent, MaxTemp in °C;
	// MaxECC is a number of uncorrectable errors.
	MinFree, MaxMem, MaxUtil, MaxTemp, MaxECC Figure
}

// Verdict is what the figures mean: the first non-empty of Failures and
// Warnings decides.
type Verdict struct {
	Failures, Warnings []string
	// Hardware says that a card itself is at fault. LostDevice says that the
	// container has lost its access to one, which a restart gives back, and
	// EndProcesses that a card wants its processes ended, which a restart does.
	Hardware, LostDevice, EndProcesses bool
	// Summary is one line over all cards.
	Summary string
}

// The bits of NVML's clock event reasons that mean a card in distress (nvml.h,
// nvmlClocksEventReason…); the others are a card at rest or a cap that was set.
const (
	throttleHW        = 0x8
	throttleSWThermal = 0x20
	throttleHWThermal = 0x40
	throttleHWBrake   = 0x80
)

// Judge compares what was seen with the limits. What could not be looked at is
// never healthy: a limit on a figure that no card source knows is a failure.
func Judge(s Snapshot, l Limits) Verdict {
	var v Verdict
	failf := func(format string, args ...any) { v.Failures = append(v.Failures, fmt.Sprintf(format, args...)) }
	warnf := func(format string, args ...any) { v.Warnings = append(v.Warnings, fmt.Sprintf(format, args...)) }
	if len(s.Cards) < l.Count {
		v.Hardware = true
		failf("%d of %d GPUs are there", len(s.Cards), l.Count)
	}
	if s.Warning != "" {
		warnf("%s", s.Warning)
	}
	for _, c := range s.Cards {
		who := fmt.Sprintf("GPU %d", c.Index)
		if c.Name != "" {
			who += " " + c.Name
		}
		if c.Fault != "" {
			v.LostDevice = v.LostDevice || s.LostDevice && c.unknownError()
			v.Hardware = true
			failf("%s: %s (%s)", who, c.Fault, faultHint(c.Fault, s.LostDevice))
			continue // its other figures mean nothing
		}
		switch c.Recovery {
		case "":
		case RecoveryDrainAndReset:
			warnf("%s: recovery action %q (%s)", who, c.Recovery, recoveryHint(c.Recovery))
		case RecoveryDrainP2P:
			v.EndProcesses = true
			failf("%s: recovery action %q (%s)", who, c.Recovery, recoveryHint(c.Recovery))
		default:
			v.Hardware = true
			failf("%s: recovery action %q (%s)", who, c.Recovery, recoveryHint(c.Recovery))
		}
		if c.RemapFailed.Value > 0 {
			v.Hardware = true
			failf("%s: row remapping has failed: the memory is broken", who)
		}
		memory := Figure{}
		if c.Total.Known && c.Used.Known && c.Total.Value > 0 {
			memory = known(100 * c.Used.Value / c.Total.Value)
		}
		above := func(what string, got, limit Figure, unit string) {
			switch {
			case !limit.Known:
			case !got.Known:
				failf("%s: %s is not known from %s, and has a limit", who, what, s.Source)
			case got.Value > limit.Value:
				v.Hardware = v.Hardware || what == "temperature" || strings.Contains(what, "ECC")
				failf("%s: %s %.4g%s (max %g%s)", who, what, got.Value, unit, limit.Value, unit)
			}
		}
		above("memory", memory, l.MaxMem, "%")
		above("utilisation", c.Util, l.MaxUtil, "%")
		above("temperature", c.Temp, l.MaxTemp, "°C")
		if c.ECC.Known || s.Source != "nvidia-smi" && s.Source != "NVML" {
			above("uncorrectable ECC errors", c.ECC, l.MaxECC, "")
		} // else the card has no ECC: there is nothing to count
		if l.MinFree.Known {
			switch {
			case !c.Free.Known:
				failf("%s: free memory is not known from %s, and has a limit", who, s.Source)
			case c.Free.Value < l.MinFree.Value:
				failf("%s: %.0f MiB free (min %.0f MiB)", who, c.Free.Value, l.MinFree.Value)
			}
		}
		if c.ECC.Value > 0 {
			warnf("%s: %.0f uncorrectable ECC errors", who, c.ECC.Value)
		}
		if c.RetirePending.Value > 0 {
			warnf("%s: memory pages wait to be retired (reset the GPU)", who)
		}
		if c.RemapPending.Value > 0 {
			warnf("%s: memory rows wait to be remapped (reset the GPU)", who)
		}
		if why := throttled(uint64(c.Throttle.Value)); why != "" {
			warnf("%s: slowed down: %s", who, why)
		}
	}
	v.Summary = summary(s)
	return v
}

func faultHint(fault string, lostDevice bool) string {
	switch strings.ToLower(fault) {
	case "gpu is lost":
		return "it has fallen off the bus: reboot the host"
	case "gpu requires reset":
		return "nvidia-smi --gpu-reset, with nothing running on it"
	}
	if lostDevice {
		return Lost.hint()
	}
	return "the driver or the card's firmware (GSP) has failed: see dmesg for Xid"
}

func throttled(mask uint64) string {
	var why []string
	for _, b := range []struct {
		bit  uint64
		name string
	}{{throttleHWThermal, "hardware thermal"}, {throttleSWThermal, "software thermal"}, {throttleHWBrake, "power brake"}} {
		if mask&b.bit != 0 {
			why = append(why, b.name)
		}
	}
	// The plain hardware bit is set along with a more exact one, or alone.
	if mask&throttleHW != 0 && len(why) == 0 {
		why = append(why, "hardware")
	}
	return strings.Join(why, ", ")
}

// summary is one line: who answered, and each card in brief.
func summary(s Snapshot) string {
	var parts []string
	for _, c := range s.Cards {
		text := c.Name
		if text == "" {
			text = fmt.Sprintf("GPU %d", c.Index)
		}
		if c.Total.Known && c.Used.Known {
			text += fmt.Sprintf(" %.0f of %.0f MiB", c.Used.Value, c.Total.Value)
		}
		if c.Util.Known {
			text += fmt.Sprintf(" %.0f%%", c.Util.Value)
		}
		if c.Temp.Known {
			text += fmt.Sprintf(" %.0f°C", c.Temp.Value)
		}
		parts = append(parts, text)
	}
	plural := "s"
	if len(s.Cards) == 1 {
		plural = ""
	}
	return fmt.Sprintf("%d GPU%s by %s: %s", len(s.Cards), plural, s.Source, strings.Join(parts, "; "))
}
