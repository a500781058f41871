package recovery

import "maps"

// Override is what a configuration says of the services that are called so:
// values of labels, by their names without the prefix.
type Override struct {
	Name   string
	Labels map[string]string
}

// Overrides are applied in their order.
type Overrides []Override

// Apply returns the container with the labels that are meant for it, in place
// of its own; of several overrides the first wins.
func (o Overrides) Apply(c Container) Container {
	set := map[string]string{}
	for _, override := range o {
		if !c.called(override.Name) {
			continue
		}
		for name, value := range override.Labels {
			if label := "watchdog." + name; set[label] == "" {
				set[label] = value
			}
		}
	}
	if len(set) > 0 {
		labels := maps.Clone(c.Labels) // the map is the caller's
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, set)
		c.Labels = labels
	}
	return c
}

// Check says what is wrong with an override, by these settings; nil for nothing.
func (o Override) Check(s Settings) (problems []string) {
	labels := map[string]string{}
	for name, value := range o.Labels {
		labels["watchdog."+name] = value
	}
	_, problems = s.For(Container{Labels: labels})
	return problems
}
