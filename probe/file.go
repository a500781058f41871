package probe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// File makes the check for file:///path[?max-age=60s]: a heartbeat file
// exists and was modified no longer ago than that, for workers that serve
// nothing. A time that lies as far in the future is no sign of life either.
func File(t Target, _ HTTPOptions) (Func, error) {
	if t.URL.Host != "" || t.URL.Path == "" || t.URL.Path == "/" {
		return nil, errors.New("the path must be absolute: file:///path?max-age=60s")
	}
	q, err := t.params("max-age")
	if err != nil {
		return nil, err
	}
	if err := t.noSettings(); err != nil {
		return nil, err
	}
	var maxAge time.Duration
	if q.Has("max-age") {
		if maxAge, err = time.ParseDuration(q.Get("max-age")); err != nil || maxAge <= 0 {
			return nil, fmt.Errorf("max-age=%q is not a duration such as 60s", cutRunes(q.Get("max-age"), 20))
		}
	}
	return func(context.Context) (Finding, error) {
		st, err := os.Stat(t.URL.Path)
		if err != nil {
			return Finding{}, t.errorf(StageRead, "%s", plain(err))
		}
		if !st.Mode().IsRegular() {
			return Finding{}, t.errorf(StageRead, "not a regular file")
		}
		age := time.Since(st.ModTime())
		f, err := judgeAge(age, maxAge)
		if err != nil {
			return f, t.errorf(StageLimit, "%s", err)
		}
		f.Message = t.String() + ": " + f.Message
		return f, nil
	}, nil
}

// judgeAge judges the age of a file; a limit of zero is none.
func judgeAge(age, limit time.Duration) (Finding, error) {
	secs := age.Seconds()
	f := Finding{Value: &secs, Message: fmt.Sprintf("modified %s ago", round(age))}
	if age < 0 {
		f.Message = fmt.Sprintf("modified %s in the future", round(-age))
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

// round makes a duration readable: milliseconds below ten seconds, else
// seconds.
func round(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}
