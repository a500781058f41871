package protocol

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"healthcheck/probe"
)

// otherNodes is the class of a failure that is about other nodes of a cluster:
// no restart of this one helps, and it would make things worse.
const otherNodes = probe.Host

// qdrantCluster asks how this node sees its cluster (/cluster): consensus
// works, there is a leader, and messages reach the others.
func (c *serviceSession) qdrantCluster() (string, error) {
	r, err := c.get("/cluster")
	if err != nil {
		return "", err
	}
	var doc struct {
		Result struct {
			Status string              `json:"status"`
			Peers  map[string]struct{} `json:"peers"`
			Raft   struct {
				Leader *uint64 `json:"leader"`
			} `json:"raft_info"`
			Thread struct {
				State string `json:"consensus_thread_status"`
				Err   string `json:"err"`
			} `json:"consensus_thread_status"`
			Unreached map[string]struct{} `json:"message_send_failures"`
		} `json:"result"`
	}
	if err := c.decode(r, &doc); err != nil {
		return "", err
	}
	quote := c.target.Secrets.Quote
	switch d := doc.Result; {
	case d.Status == "disabled":
		return "", probe.WithClass(c.fail(r, probe.StageStatus, errors.New("it is no part of a cluster (cluster=)")), probe.Config)
	case d.Status != "enabled":
		return "", c.fail(r, probe.StageJSON, fmt.Errorf("the cluster is %s, want enabled", quote(d.Status)))
	case d.Thread.State != "working":
		return "", c.fail(r, probe.StageStatus, fmt.Errorf("consensus is %s, want working: %s", quote(d.Thread.State), quote(d.Thread.Err)))
	case d.Raft.Leader == nil || *d.Raft.Leader == 0:
		return "", probe.WithClass(c.fail(r, probe.StageStatus, fmt.Errorf("the cluster of %d peers has no leader", len(d.Peers))), otherNodes)
	}
	text := fmt.Sprintf("cluster of %d peers", len(doc.Result.Peers))
	if n := len(doc.Result.Unreached); n > 0 {
		c.warn = true
		text += fmt.Sprintf(", %d of them not reached", n)
	}
	return text, nil
}

// qdrantReplica is one copy of a shard.
type qdrantReplica struct {
	Shard uint64 `json:"shard_id"`
	State string `json:"state"`
	local bool
}

// answers says whether a replica takes part in searches.
func (r qdrantReplica) answers() bool {
	return slices.Contains([]string{"Active", "ActiveRead", "ReshardingScaleDown"}, r.State)
}

// recovers says whether a replica is on its way to be one that answers.
func (r qdrantReplica) recovers() bool {
	return !r.answers() && r.State != "Dead" && r.State != "ManualRecovery"
}

// qdrantShards asks where the shards of the collection are: each has a replica
// that answers, and it is a warning where another one does not.
func (c *serviceSession) qdrantShards() (string, error) {
	r, err := c.get("/collections/" + url.PathEscape(c.name) + "/cluster")
	if err != nil {
		return "", err
	}
	var doc struct {
		Result struct {
			Count  int             `json:"shard_count"`
			Local  []qdrantReplica `json:"local_shards"`
			Remote []qdrantReplica `json:"remote_shards"`
		} `json:"result"`
	}
	if err := c.decode(r, &doc); err != nil {
		return "", err
	}
	d := doc.Result
	for i := range d.Local {
		d.Local[i].local = true
	}
	replicas := slices.Concat(d.Local, d.Remote)
	text, class := judgeShards(d.Count, replicas)
	if class != "" {
		return "", probe.WithClass(c.fail(r, probe.StageStatus, errors.New(text)), class)
	}
	if slices.ContainsFunc(replicas, func(r qdrantReplica) bool { return !r.answers() }) {
		c.warn = true
	}
	return text, nil
}

// judgeShards says how many replicas answer; a class says that a shard has none
// that does.
func judgeShards(count int, replicas []qdrantReplica) (text string, class probe.Class) {
	shards := map[uint64][]qdrantReplica{}
	active := 0
	for _, r := range replicas {
		shards[r.Shard] = append(shards[r.Shard], r)
		if r.answers() {
			active++
		}
	}
	var lost []string
	class = ""
	for id, copies := range shards {
		if slices.ContainsFunc(copies, qdrantReplica.answers) {
			continue
		}
		lost = append(lost, fmt.Sprintf("%d (%q)", id, probe.Cut(copies[0].State, 20)))
		switch {
		case slices.ContainsFunc(copies, qdrantReplica.recovers):
			if class == "" {
				class = probe.Starting
			}
		case slices.ContainsFunc(copies, func(r qdrantReplica) bool { return r.local }):
			class = probe.AsTarget
		case class != probe.AsTarget:
			class = otherNodes
		}
	}
	if missing := count - len(shards); missing > 0 {
		return fmt.Sprintf("%d of %d shards have no replica", missing, count), otherNodes
	}
	if len(lost) > 0 {
		slices.Sort(lost)
		return fmt.Sprintf("no replica answers for the shard %s", probe.Ellipsis(strings.Join(lost, ", "), 200)), class
	}
	return fmt.Sprintf("%d of %d replicas of %d shards active", active, len(replicas), len(shards)), ""
}
