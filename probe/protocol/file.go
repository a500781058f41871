package protocol

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"healthcheck/probe"
	"healthcheck/probe/target"
)

// File makes the check for file:///path[?max-age=60s]: a heartbeat file
// exists and was modified no longer ago than that, for workers that serve
// nothing. A time that lies as far in the future is no sign of life either.
func File(t target.Target, _ Options) (probe.Func, error) {
	if t.URL.Host != "" || t.URL.Path == "" || t.URL.Path == "/" {
		return nil, errors.New("the path must be absolute: file:///path?max-age=60s")
	}
	q, err := t.Params("max-age")
	if err != nil {
		return nil, err
	}
	if err := t.NoSettings(); err != nil {
		return nil, err
	}
	var maxAge time.Duration
	if q.Has("max-age") {
		if maxAge, err = time.ParseDuration(q.Get("max-age")); err != nil || maxAge <= 0 {
			return nil, fmt.Errorf("max-age=%q is not a duration such as 60s", probe.Cut(q.Get("max-age"), 20))
		}
	}
	return func(context.Context) (probe.Finding, error) {
		st, err := os.Stat(t.URL.Path)
		if err != nil {
			return probe.Finding{}, t.Errorf(probe.StageRead, "%s", probe.Bare(err))
		}
		if !st.Mode().IsRegular() {
			return probe.Finding{}, t.Errorf(probe.StageRead, "not a regular file")
		}
		age := time.Since(st.ModTime())
		f, err := judgeAge(age, maxAge)
		if err != nil {
			return f, t.Errorf(probe.StageLimit, "%s", err)
		}
		f.Message = t.String() + ": " + f.Message
		return f, nil
	}, nil
}

// judgeAge judges the age of a file; a limit of zero is none.
func judgeAge(age, limit time.Duration) (probe.Finding, error) {
	secs := age.Seconds()
	f := probe.Finding{Value: &secs, Message: fmt.Sprintf("modified %s ago", probe.Round(age))}
	if age < 0 {
		f.Message = fmt.Sprintf("modified %s in the future", probe.Round(-age))
	}
	if limit <= 0 {
		return f, nil
	}
	most := limit.Seconds()
	f.Limit = &most
	if age > limit || age < -limit {
		return f, fmt.Errorf("%s, want at most %s", f.Message, limit)
	}
	f.Message += fmt.Sprintf(" (max %s)", limit)
	return f, nil
}
