package resource

import (
	"errors"
	"io/fs"
)

// memoryUse is how much memory a group uses of what it may use, in bytes.
type memoryUse struct {
	used, limit float64
	// of is what the limit is, as messages name it.
	of string
}

// memory returns the use of the level that has the smallest room left: this
// group or one above it. Its error is errNoLimit where no level has a limit
// below the host's total, and an error where a limit cannot be read.
func (c cgroups) memory(hostTotal, swapFree float64) (memoryUse, error) {
	h, ok := c.of("memory")
	if !ok {
		return memoryUse{}, errNoLimit
	}
	least, found := memoryUse{}, false
	for _, dir := range h.levels() {
		limit, of, err := c.memoryLimit(h, dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the root of a hierarchy has no limit files
		}
		if err != nil {
			return memoryUse{}, err
		}
		if limit <= 0 || limit >= hostTotal {
			continue
		}
		use := memoryUse{limit: limit, of: of}
		if use.used, err = c.memoryUsed(h, dir); err != nil {
			return memoryUse{}, err
		}
		c.addSwap(h, dir, swapFree, &use)
		if room := use.limit - use.used; !found || room < least.limit-least.used {
			least, found = use, true
		}
	}
	if !found {
		return memoryUse{}, errNoLimit
	}
	return least, nil
}

// ownMemory is what this group itself uses, where nothing limits it.
func (c cgroups) ownMemory() (float64, error) {
	h, ok := c.of("memory")
	if !ok {
		return 0, errUncounted
	}
	return c.memoryUsed(h, h.dir)
}

// memoryLimit is the limit of one level. Above memory.high the kernel does not
// kill; it slows the group down until it is below.
func (c cgroups) memoryLimit(h hierarchy, dir string) (limit float64, of string, err error) {
	if !h.v2 {
		if limit, err = c.number(dir, "memory.limit_in_bytes"); err != nil {
			return 0, "", err
		}
		// A pod's limit holds for its containers, which do not see its group.
		if above, err := c.field(dir, "memory.stat", "hierarchical_memory_limit"); err == nil && above > 0 {
			limit = min(limit, above)
		}
		return limit, fromLimit, nil
	}
	if limit, err = c.number(dir, "memory.max"); err != nil {
		return 0, "", err
	}
	if high, err := c.number(dir, "memory.high"); err == nil && high < limit {
		return high, fromLimit + " (memory.high)", nil
	}
	return limit, fromLimit, nil
}

// memoryUsed is a group's usage without what the kernel takes back before it
// kills anything: the pages of files on its two lists but for those that must
// be written first, and the slab that it calls reclaimable. Shared memory,
// tmpfs and locked pages are on other lists. Version 1 does not tell how much
// of its slab is reclaimable.
func (c cgroups) memoryUsed(h hierarchy, dir string) (float64, error) {
	usage, prefix, dirty, writeback := "memory.usage_in_bytes", "total_", "dirty", "writeback"
	if h.v2 {
		usage, prefix, dirty, writeback = "memory.current", "", "file_dirty", "file_writeback"
	}
	used, err := c.number(dir, usage)
	if err != nil {
		return 0, err
	}
	stat, err := c.fields(dir, "memory.stat")
	if err != nil {
		return 0, err
	}
	for _, name := range []string{"inactive_file", "active_file"} {
		if _, ok := stat[prefix+name]; !ok {
			return 0, errors.New("memory.stat has no " + prefix + name)
		}
	}
	files := stat[prefix+"inactive_file"] + stat[prefix+"active_file"] - stat[prefix+dirty] - stat[prefix+writeback]
	return max(0, used-max(0, files)-stat["slab_reclaimable"]), nil
}

// addSwap adds the swap of one level, both what is used of it and what is left:
// a group whose memory is full pages out before the kernel kills. It is left
// out where the kernel does not account for swap or the group may have none.
func (c cgroups) addSwap(h hierarchy, dir string, hostFree float64, use *memoryUse) {
	var swapped, room float64
	if h.v2 {
		limit, err1 := c.number(dir, "memory.swap.max")
		used, err2 := c.number(dir, "memory.swap.current")
		if err1 != nil || err2 != nil {
			return
		}
		swapped, room = used, limit-used
	} else {
		limit, err1 := c.number(dir, "memory.memsw.limit_in_bytes")
		// The file memory.memsw.usage_in_bytes is read at another moment than
		// that of the memory alone: their difference is more than swap.
		used, err2 := c.field(dir, "memory.stat", "total_swap")
		if err1 != nil || err2 != nil || limit < 0 {
			return
		}
		swapped = used
		// The limit is one on the sum of both.
		room = limit - use.limit - swapped
		if swappiness, err := c.number(dir, "memory.swappiness"); err == nil && swappiness == 0 {
			room = min(room, 0)
		}
	}
	if room = min(room, hostFree); h.v2 {
		room = max(room, 0)
	}
	if swapped == 0 && room <= 0 {
		return
	}
	use.used += swapped
	use.limit += swapped + room
	use.of += " with swap"
}
