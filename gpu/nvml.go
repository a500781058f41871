//go:build linux && cgo

package gpu

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// Backend names what is built in.
const Backend = "NVML, nvidia-smi"

// InProcess says whether Read calls into the driver from this very process.
const InProcess = true

// nvml asks the library, which is loaded now, and only now. A symbol that it
// lacks would end the process: each is looked up first.
func (Reader) nvml(context.Context) (Snapshot, error) {
	if ret := nvml.Init(); ret == nvml.ERROR_LIBRARY_NOT_FOUND {
		return Snapshot{}, errUnavailable
	} else if ret != nvml.SUCCESS {
		return Snapshot{}, nvmlFault("nvmlInit", ret)
	}
	defer nvml.Shutdown()
	s := Snapshot{Source: "NVML"}
	if driver, ret := nvml.SystemGetDriverVersion(); ret == nvml.SUCCESS {
		s.Driver = driver
	}
	n, ret := nvml.DeviceGetCount()
	if ret != nvml.SUCCESS {
		return s, nvmlFault("nvmlDeviceGetCount", ret)
	}
	for i := range n {
		dev, ret := nvml.DeviceGetHandleByIndex(i)
		if ret != nvml.SUCCESS {
			// A lost card is among the others, not in their place.
			if cardFault(ret) == "" {
				return s, nvmlFault("nvmlDeviceGetHandleByIndex", ret)
			}
			s.Cards = append(s.Cards, Card{Index: i, Fault: cardFault(ret)})
			continue
		}
		c := nvmlCard(i, dev)
		if slices := migSlices(c, dev); len(slices) > 0 {
			s.Cards = append(s.Cards, slices...)
		} else {
			s.Cards = append(s.Cards, c)
		}
	}
	return s, nil
}

// has says whether the library has a function.
func has(symbol string) bool { return nvml.Extensions().LookupSymbol(symbol) == nil }

// nvmlFault sorts NVML's return codes (nvml.h, nvmlReturn_t).
func nvmlFault(call string, ret nvml.Return) error {
	said := fmt.Sprintf("%s: %s (%d)", call, nvmlText(ret), int(ret))
	switch ret {
	case nvml.ERROR_DRIVER_NOT_LOADED:
		return fault(NoDriver, "%s", said)
	case nvml.ERROR_NO_PERMISSION:
		return fault(Permission, "%s", said)
	case nvml.ERROR_LIB_RM_VERSION_MISMATCH:
		return fault(Mismatch, "%s", said)
	case nvml.ERROR_UNKNOWN:
		return fault(Lost, "%s", said)
	case nvml.ERROR_OPERATING_SYSTEM:
		return fault(Blocked, "%s", said)
	case nvml.ERROR_NOT_FOUND:
		return fault(NoCards, "%s", said)
	}
	return fault(Broken, "%s", said)
}

func nvmlText(ret nvml.Return) string {
	if has("nvmlErrorString") {
		return nvml.ErrorString(ret)
	}
	return "error"
}

// cardFault is the words, those of nvidia-smi, for a card that cannot answer.
func cardFault(ret nvml.Return) string {
	switch ret {
	case nvml.ERROR_GPU_IS_LOST:
		return "GPU is lost"
	case nvml.ERROR_RESET_REQUIRED:
		return "GPU requires reset"
	case nvml.ERROR_UNKNOWN:
		return "Unknown Error"
	case nvml.ERROR_TIMEOUT:
		return "Timeout"
	case nvml.ERROR_IRQ_ISSUE:
		return "Interrupt Request Issue"
	}
	return ""
}

// nvmlCard asks one card for everything that it may know.
func nvmlCard(index int, dev nvml.Device) Card {
	c := Card{Index: index}
	// set takes a value, or the fault that came in its place.
	set := func(to *Figure, value float64, ret nvml.Return) {
		if ret == nvml.SUCCESS {
			*to = known(value)
		} else if f := cardFault(ret); f != "" {
			c.Fault = f
		}
	}
	var ret nvml.Return
	if c.Name, ret = dev.GetName(); ret != nvml.SUCCESS {
		c.Name, c.Fault = "", cardFault(ret)
	}
	c.UUID, _ = dev.GetUUID()
	nvmlMemory(dev, &c, set)
	if has("nvmlDeviceGetUtilizationRates") {
		u, ret := dev.GetUtilizationRates()
		set(&c.Util, float64(u.Gpu), ret)
	}
	if has("nvmlDeviceGetTemperature") {
		v, ret := dev.GetTemperature(nvml.TEMPERATURE_GPU)
		set(&c.Temp, float64(v), ret)
	}
	if has("nvmlDeviceGetPowerUsage") {
		v, ret := dev.GetPowerUsage()
		set(&c.Power, float64(v/10)/100, ret) // mW; nvidia-smi shows two decimals
	}
	if has("nvmlDeviceGetTotalEccErrors") {
		v, ret := dev.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC)
		set(&c.ECC, float64(v), ret)
	}
	if has("nvmlDeviceGetRetiredPagesPendingStatus") {
		v, ret := dev.GetRetiredPagesPendingStatus()
		set(&c.RetirePending, float64(v), ret)
	}
	if has("nvmlDeviceGetRemappedRows") {
		_, _, pending, failed, ret := dev.GetRemappedRows()
		set(&c.RemapPending, number(pending), ret)
		set(&c.RemapFailed, number(failed), ret)
	}
	if has("nvmlDeviceGetCurrentClocksEventReasons") {
		v, ret := dev.GetCurrentClocksEventReasons()
		set(&c.Throttle, float64(v), ret)
	} else if has("nvmlDeviceGetCurrentClocksThrottleReasons") { // its name until driver 535
		v, ret := dev.GetCurrentClocksThrottleReasons()
		set(&c.Throttle, float64(v), ret)
	}
	c.Recovery = nvmlRecovery(dev, set)
	if has("nvmlDeviceGetMigMode") {
		mode, _, ret := dev.GetMigMode()
		c.MIG = ret == nvml.SUCCESS && mode == nvml.DEVICE_MIG_ENABLE
	}
	return c
}

// nvmlRecovery is what the driver says must be done to the card: by one field
// since driver 570, by two others before.
func nvmlRecovery(dev nvml.Device, set func(*Figure, float64, nvml.Return)) string {
	if !has("nvmlDeviceGetFieldValues") {
		return ""
	}
	ask := func(field uint32) (v Figure) {
		values := []nvml.FieldValue{{FieldId: field}}
		ret := dev.GetFieldValues(values)
		if ret == nvml.SUCCESS {
			ret = nvml.Return(values[0].NvmlReturn)
		}
		// Of the faults those that are certain: an old library may answer anything
		// for a field that it does not know.
		if ret == nvml.SUCCESS || ret == nvml.ERROR_GPU_IS_LOST || ret == nvml.ERROR_RESET_REQUIRED {
			set(&v, float64(binary.NativeEndian.Uint32(values[0].Value[:4])), ret) // all three are unsigned ints
		}
		return v
	}
	if action := ask(nvml.FI_DEV_GET_GPU_RECOVERY_ACTION); action.Known {
		return recoveryByNumber(int(action.Value))
	}
	switch {
	case ask(nvml.FI_DEV_RESET_STATUS).Value > 0:
		return RecoveryReset
	case ask(nvml.FI_DEV_DRAIN_AND_RESET_STATUS).Value > 0:
		return RecoveryDrainAndReset
	}
	return ""
}

// recoveryByNumber is nvidia-smi's word for NVML's nvmlDeviceGpuRecoveryAction_t.
func recoveryByNumber(n int) string {
	switch nvml.DeviceGpuRecoveryAction(n) {
	case nvml.GPU_RECOVERY_ACTION_NONE:
		return ""
	case nvml.GPU_RECOVERY_ACTION_GPU_RESET:
		return RecoveryReset
	case nvml.GPU_RECOVERY_ACTION_NODE_REBOOT:
		return RecoveryReboot
	case nvml.GPU_RECOVERY_ACTION_DRAIN_P2P:
		return RecoveryDrainP2P
	case nvml.GPU_RECOVERY_ACTION_DRAIN_AND_RESET:
		return RecoveryDrainAndReset
	case nvml.GPU_RECOVERY_ACTION_RECOVER_IMEX_DOMAIN:
		return RecoveryIMEX
	case nvml.GPU_RECOVERY_ACTION_BUS_RESET:
		return RecoveryBusReset
	case nvml.GPU_RECOVERY_ACTION_SYSTEM_REBOOT:
		return RecoverySystemReboot
	}
	return fmt.Sprintf("Action %d", n)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// nvmlMemory counts as nvidia-smi does: without what the driver reserves,
// where the library (510 and later) tells that apart.
func nvmlMemory(dev nvml.Device, c *Card, set func(*Figure, float64, nvml.Return)) {
	const mib = 1 << 20
	if has("nvmlDeviceGetMemoryInfo_v2") {
		m, ret := dev.GetMemoryInfo_v2()
		set(&c.Total, float64(m.Total/mib), ret)
		set(&c.Used, float64(m.Used/mib), ret)
		set(&c.Free, float64(m.Free/mib), ret)
		return
	}
	if has("nvmlDeviceGetMemoryInfo") {
		m, ret := dev.GetMemoryInfo()
		set(&c.Total, float64(m.Total/mib), ret)
		set(&c.Used, float64(m.Used/mib), ret)
		set(&c.Free, float64(m.Free/mib), ret)
	}
}

// migSlices returns the MIG instances of a card that this container sees: only
// their own handles know their memory.
func migSlices(parent Card, dev nvml.Device) []Card {
	if !parent.MIG || !has("nvmlDeviceGetMaxMigDeviceCount") || !has("nvmlDeviceGetMigDeviceHandleByIndex") {
		return nil
	}
	n, ret := dev.GetMaxMigDeviceCount()
	if ret != nvml.SUCCESS {
		return nil
	}
	var slices []Card
	for i := range n {
		slice, ret := dev.GetMigDeviceHandleByIndex(i)
		if ret != nvml.SUCCESS {
			continue // not every place is taken
		}
		c := parent
		c.Total, c.Used, c.Free = Figure{}, Figure{}, Figure{}
		c.UUID, _ = slice.GetUUID()
		c.Name += fmt.Sprintf(" MIG %d", i)
		nvmlMemory(slice, &c, func(to *Figure, v float64, ret nvml.Return) {
			if ret == nvml.SUCCESS {
				*to = known(v)
			}
		})
		slices = append(slices, c)
	}
	return slices
}
