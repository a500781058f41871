package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"sync"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
)

// Evidence is what the engine tells of a container, as it tells it. A part that
// could not be had in time is empty.
type Evidence struct {
	// Logs are the last lines of both streams.
	Logs []byte
	// Top is the table of processes, its titles first.
	Top [][]string
	// Stats is one sample of what it uses, Inspection what it is.
	Stats, Inspection json.RawMessage
}

const (
	// evidenceLines is how many lines of the log are asked for.
	evidenceLines = "200"
	// mostLogs, mostRaw and mostProcesses bound what is read of each part.
	mostLogs, mostRaw = 128 << 10, 256 << 10
	mostProcesses     = 200
)

// Evidence asks for everything at once, until ctx ends.
func (c *Client) Evidence(ctx context.Context, id string) (e Evidence) {
	api, err := c.connected(ctx)
	if err != nil {
		return e
	}
	var parts sync.WaitGroup
	parts.Go(func() {
		res, err := api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		if err != nil {
			return
		}
		if len(res.Raw) <= mostRaw {
			e.Inspection = res.Raw
		}
		tty := res.Container.Config != nil && res.Container.Config.Tty
		logs, err := api.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Tail: evidenceLines})
		if err != nil {
			return
		}
		defer logs.Close()
		e.Logs = readLogs(logs, tty)
	})
	parts.Go(func() {
		res, err := api.ContainerTop(ctx, id, client.ContainerTopOptions{})
		if err == nil {
			e.Top = append([][]string{res.Titles}, res.Processes[:min(len(res.Processes), mostProcesses)]...)
		}
	})
	parts.Go(func() {
		res, err := api.ContainerStats(ctx, id, client.ContainerStatsOptions{})
		if err != nil {
			return
		}
		defer res.Body.Close()
		if text, err := io.ReadAll(io.LimitReader(res.Body, mostRaw)); err == nil && json.Valid(text) {
			e.Stats = text
		}
	})
	parts.Wait()
	return e
}

// readLogs keeps the end of what a container has written. Without a terminal
// its two streams come in frames.
func readLogs(r io.Reader, tty bool) []byte {
	var end tail
	if tty {
		io.Copy(&end, r)
	} else {
		stdcopy.StdCopy(&end, &end, r)
	}
	return end
}

// tail keeps the last bytes that were written to it.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if extra := len(*t) - mostLogs; extra > 0 {
		rest := (*t)[extra:]
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			rest = rest[i+1:] // whole lines
		}
		*t = append((*t)[:0], rest...)
	}
	return len(p), nil
}
