package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/moby/moby/client"

	"healthcheck/watchdog/recovery"
)

// List lists all containers, with what the engine says of them in a list.
func (c *Client) List(ctx context.Context) ([]recovery.Container, error) {
	api, err := c.connected(ctx)
	if err != nil {
		return nil, err
	}
	if path, local := strings.CutPrefix(api.DaemonHost(), "unix://"); local && path != "" {
		return c.lists.read(ctx, c.plain(api), api.ClientVersion())
	}
	res, err := api.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, err
	}
	out := make([]recovery.Container, 0, len(res.Items))
	for _, s := range res.Items {
		out = append(out, fromSummary(s))
	}
	return out, nil
}

// plain is what carries requests to a local engine without the client, which
// would hold the whole of a long list in memory, and three times over.
func (c *Client) plain(api *client.Client) http.RoundTripper {
	if c.over != nil {
		return c.over
	}
	dial := api.Dialer()
	return &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
}

// lists remembers the last list: an entry that is the same as then, to the
// byte, is not read again. Of 10,000 containers few change within a minute.
type lists struct {
	mu    sync.Mutex
	seed  maphash.Seed
	known map[uint64]int // the place of an entry, by its hash
	last  []entry
}

// entry is what a list says of a container. It is a fifth of what a Container
// holds, of which most comes from an inspection.
type entry struct {
	id, name, state, health, networkOf string
	labels                             map[string]string
	networks                           []recovery.Network
}

func (e entry) container() recovery.Container {
	return recovery.Container{ID: e.id, Name: e.name, Labels: e.labels, State: e.state, Health: e.health, HasHealthcheck: e.health != "", NetworkOf: e.networkOf, Networks: e.networks}
}

// read asks the engine for the list, and reads it entry by entry.
func (l *lists) read(ctx context.Context, over http.RoundTripper, version string) ([]recovery.Container, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+client.DummyHost+"/v"+version+"/containers/json?all=1", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	resp, err := (&http.Client{Transport: over, CheckRedirect: client.CheckRedirect}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		l.seed = maphash.MakeSeed()
	}
	all, known, names := make([]entry, 0, len(l.last)), make(map[uint64]int, len(l.last)), names{}
	err = objects(resp.Body, func(text []byte) error {
		hash := maphash.Bytes(l.seed, text)
		if i, ok := l.known[hash]; ok {
			all = append(all, l.last[i])
		} else {
			e, err := parseEntry(text, names)
			if err != nil {
				return err
			}
			all = append(all, e)
		}
		known[hash] = len(all) - 1
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("GET /containers/json: %w", err)
	}
	l.known, l.last = known, all
	out := make([]recovery.Container, len(all))
	for i, e := range all {
		out[i] = e.container()
	}
	return out, nil
}

// refusal is what the engine says in place of an answer.
func refusal(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	var said struct{ Message string }
	if json.Unmarshal(body, &said) != nil || said.Message == "" {
		said.Message = string(bytes.TrimSpace(body))
	}
	return fmt.Errorf("GET /containers/json: status %d: %q", resp.StatusCode, said.Message)
}

// names holds one copy of what many containers have in common: the keys of
// labels, and the names of projects and networks.
type names map[string]string

func (n names) of(text string) string {
	if kept, ok := n[text]; ok {
		return kept
	}
	n[text] = text
	return text
}

// parseEntry reads an entry of the list. Of the labels it keeps those that
// decide anything.
func parseEntry(text []byte, names names) (entry, error) {
	var e entry
	var listed []string
	var status, mode string
	s := scanner{data: text}
	s.object(func(key string) {
		switch key {
		case "Id":
			e.id = s.text()
		case "Names":
			s.array(func() { listed = append(listed, s.text()) })
		case "State":
			e.state = names.of(s.text())
		case "Status":
			status = s.text()
		case "Labels":
			s.object(func(label string) {
				if value := s.text(); recovery.LabelMatters(label, value) {
					if e.labels == nil {
						e.labels = map[string]string{}
					}
					e.labels[names.of(label)] = names.of(value)
				}
			})
		case "HostConfig":
			s.object(func(key string) {
				if key == "NetworkMode" {
					mode = s.text()
				} else {
					s.skip()
				}
			})
		case "NetworkSettings":
			s.object(func(key string) {
				if key == "Networks" {
					s.object(func(name string) { e.networks = append(e.networks, s.network(names.of(name))) })
				} else {
					s.skip()
				}
			})
		default:
			s.skip()
		}
	})
	if err := s.end(); err != nil {
		return e, err
	}
	if e.id == "" {
		return e, errors.New("an entry without an Id")
	}
	e.name, e.health, e.networkOf = ownName(listed), healthIn(status), networkOf(mode)
	sortNetworks(e.networks)
	return e, nil
}

// network reads a place in a network: the address, and the names there.
func (s *scanner) network(name string) recovery.Network {
	n := recovery.Network{Name: name}
	var more []string
	s.object(func(key string) {
		switch key {
		case "IPAddress":
			n.IP = validAddress(s.text())
		case "Aliases":
			s.array(func() { n.Aliases = append(n.Aliases, s.text()) })
		case "DNSNames":
			s.array(func() { more = append(more, s.text()) })
		default:
			s.skip()
		}
	})
	n.Aliases = append(n.Aliases, more...)
	return n
}
