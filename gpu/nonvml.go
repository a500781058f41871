//go:build !(linux && cgo)

package gpu

import "context"

// Backend names what is built in.
const Backend = "nvidia-smi"

// InProcess says whether Read calls into the driver from this very process.
const InProcess = false

func (Reader) nvml(context.Context) (Snapshot, error) { return Snapshot{}, errUnavailable }
