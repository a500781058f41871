// Package gpu looks at NVIDIA GPUs: what a card is,
// where its figures come from, what they mean for health (judge.go), and which
// model fits into its memory (fit.go).
//
// Two sources stand behind one function: NVML, through go-nvml, in builds with
// cgo, and nvidia-smi in static builds and where the library is missing. Where
// neither can be had, the device nodes still tell a lost device cgroup, a
// missing permission, no driver and 'not injected' apart.
//
// The package knows neither flags nor exit codes; cmd/healthcheck does.
package gpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Figure is a value that a card may lack: [N/A] for ECC on a consumer card.
type Figure struct {
	Value float64
	Known bool
}

func known(v float64) Figure { return Figure{v, true} }

// Card is one GPU, or one MIG instance of a GPU, as it was seen.
type Card struct {
	Index      int
	Name, UUID string
	// Total, Used and Free are the memory, in MiB.
	Total, Used, Free Figure
	// Util is the share of time in which a kernel ran, in percent; Temp is in
	// °C; Power is in watts.
	Util, Temp, Power Figure
	// ECC counts uncorrectable errors since the driver was loaded.
	ECC Figure
	// RetirePending and RemapPending want a reset soon; RemapFailed is broken
	// memory. 1 is yes.
	RetirePending, RemapPending, RemapFailed Figure
	// Throttle is NVML's bit mask of reasons why clocks are low.
	Throttle Figure
	// Recovery is what the driver says must be done to the card, in nvidia-smi's
	// words; empty where the driver does not say, or there is nothing to do.
	Recovery string
	// MIG says that the card is divided into instances, or is one.
	MIG bool
	// Fault is what the driver answered in place of a figure: the card is
	// lost, needs a reset, or fails in a way that the driver does not know.
	Fault string
}

// Snapshot is what one source saw.
type Snapshot struct {
	// Source names who answered: NVML, nvidia-smi or /dev.
	Source string
	Driver string
	Cards  []Card
	// Warning is the source's own about a card that it reads all the same; empty
	// for none.
	Warning string
	// LostDevice says that the container may not open the device nodes of a card
	// whose driver answers Unknown Error.
	LostDevice bool
}

// Kind sorts the reasons why no card could be looked at.
type Kind string

// The kinds of faults. The first three mean that there is no GPU for this
// container; the others that there is one and it cannot be used.
const (
	NotInjected Kind = "not injected"
	NoDriver    Kind = "no driver"
	NoCards     Kind = "no cards"

	NoTool     Kind = "no tool" // neither NVML nor nvidia-smi
	Lost       Kind = "lost device cgroup"
	Permission Kind = "permission"
	Blocked    Kind = "blocked"
	Mismatch   Kind = "version mismatch"
	Broken     Kind = "broken"
)

// Fault is the reason why no card could be looked at.
type Fault struct {
	Kind Kind
	// Text is what was tried and what came, Hint what to do about it.
	Text, Hint string
}

func (f *Fault) Error() string {
	if f.Hint == "" {
		return f.Text
	}
	return f.Text + " (" + f.Hint + ")"
}

// Absent says whether err means that there is no GPU here at all, so that a
// program may go on without one; a GPU that is there but broken is not absent.
func Absent(err error) bool {
	f, ok := errors.AsType[*Fault](err)
	return ok && (f.Kind == NotInjected || f.Kind == NoDriver || f.Kind == NoCards)
}

// hint says what to do about a kind of fault.
func (k Kind) hint() string {
	switch k {
	case NotInjected:
		return "run the container with --gpus all, or the NVIDIA runtime with the utility capability"
	case NoDriver:
		return "load the NVIDIA driver on the host"
	case NoTool:
		return "give the container the utility capability: NVIDIA_DRIVER_CAPABILITIES=compute,utility"
	case Lost:
		return "the container has lost its device cgroup, as after systemctl daemon-reload: restart the container"
	case Permission:
		return "the probe's user may not open the device: see the modes of /dev/nvidia*"
	case Blocked:
		return "the device is blocked or has failed: see dmesg for Xid"
	case Mismatch:
		return "the driver was updated under a loaded module: reboot the host or reload the nvidia modules, then restart the container"
	}
	return ""
}

func fault(kind Kind, format string, args ...any) *Fault {
	return &Fault{kind, fmt.Sprintf(format, args...), kind.hint()}
}

// errUnavailable is a source that is not there, so that the next may be tried.
var errUnavailable = errors.New("unavailable")

// Reader looks at the GPUs. The zero value is ready to use.
type Reader struct {
	// InGroup says that this process is alone in a process group that its
	// parent will kill; children then stay in that group.
	InGroup bool
	// Dev is where the device nodes are; empty means /dev.
	Dev string
	// Version is the file that names the loaded driver's version; empty means
	// /proc/driver/nvidia/version.
	Version string
}

// Read returns what the first source that is there sees. A call into a sick
// driver may hang beyond any deadline: where InProcess is true, run it in a
// process of its own.
func (r Reader) Read(ctx context.Context) (Snapshot, error) {
	for _, source := range []func(context.Context) (Snapshot, error){r.nvml, r.smi} {
		s, err := source(ctx)
		if errors.Is(err, errUnavailable) {
			continue
		}
		if err == nil && len(s.Cards) == 0 {
			err = fault(NoCards, "%s lists no GPU", s.Source)
		}
		if slices.ContainsFunc(s.Cards, Card.unknownError) {
			_, opening := r.devices()
			f, ok := errors.AsType[*Fault](opening)
			s.LostDevice = ok && f.Kind == Lost
		}
		return s, err
	}
	return r.devices()
}

// Class is the kind of work that a card of this name and size is for.
func (c Card) Class() string {
	name := strings.ToUpper(c.Name)
	gib := c.Total.Value / 1024
	switch {
	case strings.Contains(name, "MIG"):
		return "slice of a larger card"
	case strings.Contains(name, "T4") && !strings.Contains(name, "T40"):
		return "entry-level inference"
	case strings.Contains(name, "A100"):
		return "large deployments"
	case strings.Contains(name, "A6000"):
		return "workstation"
	case strings.Contains(name, "RTX 4090"):
		return "consumer"
	case !c.Total.Known:
		return "unknown"
	case gib < 20:
		return "entry-level inference"
	case gib < 40:
		return "consumer or small workstation"
	case gib < 60:
		return "workstation"
	}
	return "large deployments"
}
