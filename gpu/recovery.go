package gpu

import "strings"

// The recovery actions of a card: nvidia-smi's words, and those of NVML's
// nvmlDeviceGpuRecoveryAction_t that nvidia-smi got later.
const (
	RecoveryReset         = "Reset"
	RecoveryReboot        = "Reboot"
	RecoveryDrainP2P      = "Drain P2P"
	RecoveryDrainAndReset = "Drain and Reset"
	RecoveryIMEX          = "Recover IMEX Domain"
	RecoveryBusReset      = "Bus Reset"
	RecoverySystemReboot  = "System Reboot"
)

// parseRecovery reads nvidia-smi's word. One that this program does not know is
// kept: the driver asks for something.
func parseRecovery(text string) string {
	switch strings.ToLower(text) {
	case "", "none", "n/a":
		return ""
	}
	if strings.HasPrefix(text, "[") { // a placeholder: [N/A], [Not Supported]
		return ""
	}
	return text[:min(len(text), 64)]
}

// Usable says whether new work may be put on the card: it answers, and the
// driver asks for no recovery of it.
func (c Card) Usable() bool { return c.Fault == "" && c.Recovery == "" }

func (c Card) unknownError() bool { return strings.EqualFold(c.Fault, "unknown error") }

// recoveryHint says what to do for a recovery action.
func recoveryHint(action string) string {
	switch action {
	case RecoveryReset:
		return "end all that runs on it, then nvidia-smi --gpu-reset"
	case RecoveryReboot, RecoverySystemReboot:
		return "reboot the host"
	case RecoveryDrainP2P:
		return "end the processes that use it with other GPUs"
	case RecoveryDrainAndReset:
		return "it works at reduced capacity: put nothing new on it, reset it when its work is done"
	case RecoveryIMEX:
		return "recover the IMEX domain of the NVLink fabric"
	case RecoveryBusReset:
		return "reset its PCIe bus"
	}
	return "see the driver's documentation"
}
