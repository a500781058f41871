package flags

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// isServiceLink recognises what Kubernetes and Docker's links set in containers
// beside a service that is called like the program, or whose name begins so, by
// name and value: WATCHDOG_PORT_80_TCP_ADDR=10.0.0.2, WATCHDOG_UI_SERVICE_HOST.
// Kubernetes documents them in "Accessing the Service", Docker in "Legacy
// container links".
func isServiceLink(prefix, name string, vars map[string]string) bool {
	value := vars[name]
	name = "_" + strings.TrimPrefix(name, prefix)
	words := strings.Split(name, "_")
	last := words[len(words)-1]
	_, notIP := netip.ParseAddr(value)
	_, notNumber := strconv.ParseUint(value, 10, 16)
	switch {
	case strings.HasSuffix(name, "_SERVICE_HOST"):
		return notIP == nil
	case strings.Contains(name, "_SERVICE_PORT"): // also of a named port: _SERVICE_PORT_HTTP
		return notNumber == nil
	case strings.HasSuffix(name, "_NAME"):
		return isLinkName(value)
	case strings.Contains(name, "_ENV_"): // the other container's own variables
		link, _, _ := strings.Cut(name[1:], "ENV_")
		return isLinkName(vars[prefix+link+"NAME"])
	case last == "PORT" && notNumber == nil, last == "ADDR", last == "PROTO":
		words = words[:len(words)-1]
	case last == "PORT":
		return isEndpoint(value)
	}
	// What is left is PORT_80_TCP, and perhaps PORT_80_81_TCP for a range.
	protocol := words[len(words)-1]
	if len(words) < 3 || !slices.Contains([]string{"TCP", "UDP", "SCTP"}, protocol) {
		return false
	}
	if _, err := strconv.ParseUint(words[len(words)-2], 10, 16); err != nil || !strings.Contains(name, "_PORT_") {
		return false
	}
	switch last {
	case "PORT":
		return true
	case "ADDR":
		return notIP == nil
	case "PROTO":
		return strings.EqualFold(value, protocol)
	}
	return isEndpoint(value)
}

// isEndpoint recognises tcp://10.0.0.2:80.
func isEndpoint(value string) bool {
	protocol, address, _ := strings.Cut(value, "://")
	_, err := netip.ParseAddrPort(address)
	return err == nil && slices.Contains([]string{"tcp", "udp", "sctp"}, protocol)
}

// isLinkName recognises /watching/watched, the containers of a link.
func isLinkName(value string) bool {
	return strings.HasPrefix(value, "/") && strings.Count(value, "/") == 2
}
