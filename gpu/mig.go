package gpu

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxXML bounds what nvidia-smi -q -x may print, in bytes: some 40 KiB a card.
const maxXML = 4 << 20

// instance is one MIG instance as nvidia-smi -q -x shows it to this container.
type instance struct {
	gpu               string // the card's UUID
	index             int
	uuid              string
	total, used, free Figure
}

// smiInstances puts the MIG instances that this container sees in the place of
// their cards, as NVML does: a query with fields knows the cards alone. Where
// nvidia-smi shows none, the cards stay.
func (r Reader) smiInstances(ctx context.Context, path string, s Snapshot) (Snapshot, error) {
	if !slices.ContainsFunc(s.Cards, func(c Card) bool { return c.MIG && c.Fault == "" }) {
		return s, nil
	}
	out, code, err := r.runSMI(ctx, path, maxXML, "-q", "-x")
	if err != nil {
		return Snapshot{}, err
	}
	if code != 0 && code != smiInfoROM {
		return s, nil
	}
	found := parseInstances(out)
	if slices.ContainsFunc(found, func(i instance) bool { return i.uuid == "" }) { // not every driver writes it there
		list, code, err := r.runSMI(ctx, path, maxSMI, "-L")
		if err != nil {
			return Snapshot{}, err
		}
		if code == 0 {
			nameInstances(found, list)
		}
	}
	s.Cards = withInstances(s.Cards, found)
	return s, nil
}

func withInstances(cards []Card, found []instance) []Card {
	var all []Card
	for _, parent := range cards {
		before := len(all)
		for _, i := range found {
			if !parent.MIG || parent.Fault != "" || i.gpu != parent.UUID {
				continue
			}
			c := parent
			c.Name += fmt.Sprintf(" MIG %d", i.index)
			c.UUID, c.Total, c.Used, c.Free = i.uuid, i.total, i.used, i.free
			all = append(all, c)
		}
		if len(all) == before {
			all = append(all, parent)
		}
	}
	return all
}

// parseInstances reads what matters of nvidia-smi's XML: per gpu its uuid, and
// of each mig_device its index, its uuid and its memory. What is no such
// element is passed over, and an instance without an index is left out.
func parseInstances(xml string) []instance {
	var (
		all  []instance
		path []string
		text string
		gpu  int // the first instance of the card that is being read
	)
	within := func(names ...string) bool { return len(path) == len(names)+1 && slices.Equal(path[1:], names) }
	for {
		before, rest, ok := strings.Cut(xml, "<")
		if !ok {
			return all[:gpu] // a card that is cut off has no uuid yet
		}
		text = strings.TrimSpace(before)
		tag, after, ok := strings.Cut(rest, ">")
		if !ok {
			return all[:gpu]
		}
		xml = after
		switch {
		case tag == "" || tag[0] == '?' || tag[0] == '!' || strings.HasSuffix(tag, "/"):
		case tag[0] != '/':
			name, _, _ := strings.Cut(tag, " ")
			path = append(path, name)
			switch {
			case within("gpu"):
				gpu = len(all)
			case within("gpu", "mig_devices", "mig_device"):
				all = append(all, instance{index: -1})
			}
		default:
			if len(path) == 0 || path[len(path)-1] != tag[1:] {
				return all[:gpu] // not well-formed
			}
			if within("gpu", "uuid") {
				for i := range all[gpu:] {
					all[gpu+i].gpu = text
				}
			} else if len(path) > 4 && len(all) > gpu && slices.Equal(path[1:4], []string{"gpu", "mig_devices", "mig_device"}) {
				all[len(all)-1].set(strings.Join(path[4:], "/"), text)
			}
			if within("gpu") {
				all = append(all[:gpu], slices.DeleteFunc(slices.Clone(all[gpu:]), func(i instance) bool { return i.index < 0 || i.gpu == "" })...)
				gpu = len(all)
			}
			path = path[:len(path)-1]
		}
	}
}

func (i *instance) set(element, text string) {
	amount, _ := parseFigure(strings.TrimSuffix(text, " MiB"))
	switch element {
	case "index":
		if n, err := strconv.Atoi(text); err == nil && n >= 0 {
			i.index = n
		}
	case "uuid":
		i.uuid = text
	case "fb_memory_usage/total":
		i.total = amount
	case "fb_memory_usage/used":
		i.used = amount
	case "fb_memory_usage/free":
		i.free = amount
	}
}

// nameInstances gives instances their UUIDs by the lines of nvidia-smi -L:
//
//	GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-…)
//	  MIG 1g.5gb      Device  0: (UUID: MIG-…)
func nameInstances(found []instance, list string) {
	gpu := ""
	for line := range strings.Lines(list) {
		head, rest, ok := strings.Cut(strings.TrimSpace(line), "(UUID: ")
		uuid, _, end := strings.Cut(rest, ")")
		if !ok || !end {
			continue
		}
		if strings.HasPrefix(head, "GPU ") {
			gpu = uuid
			continue
		}
		_, device, ok := strings.Cut(head, " Device ")
		index, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(device), ":")))
		if !ok || err != nil {
			continue
		}
		for i := range found {
			if found[i].gpu == gpu && found[i].index == index && found[i].uuid == "" {
				found[i].uuid = uuid
			}
		}
	}
}
