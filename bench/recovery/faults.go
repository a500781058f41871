package recovery

import (
	"context"
	"time"
)

// fault is something that breaks.
type fault struct {
	name string
	// what says in the table what happens, and what mends it.
	what string
	apps int  // applications beside the database
	disk bool // the application's data lie on a small file system of its own
	// helps says how many restarts of a container do any good.
	helps map[string]int
	// limit is how long a trial goes on; mendAfter is when a person mends what
	// no restart can, if it is not zero.
	limit, mendAfter time.Duration
	inject, mend     func(ctx context.Context, s *system) error
}

// faults is the table of them, in the order in which they are shown. A person
// mends what has to be mended by a person after the same time for everybody.
var faults = []fault{
	{
		name: "crash", what: "the application ends by itself, with code 1",
		apps: 1, helps: map[string]int{"app": 1}, limit: 20 * time.Second,
		inject: inApps("fault", "crash"),
	},
	{
		name: "hang", what: "the application accepts requests and answers none",
		apps: 1, helps: map[string]int{"app": 1}, limit: 20 * time.Second,
		inject: inApps("fault", "hang"),
	},
	{
		name: "dependency-down", what: "its database crashes",
		apps: 1, helps: map[string]int{"db": 1}, limit: 20 * time.Second,
		inject: fatal("DEBUG", "SEGFAULT"),
	},
	{
		name: "dependency-hung", what: "its database answers nothing any more",
		apps: 1, helps: map[string]int{"db": 1}, limit: 20 * time.Second,
		inject: fatal("DEBUG", "SLEEP", "3600"),
	},
	{
		name: "slow-start", what: "restarted by a person; it loads for 10 s, and says so; its healthcheck allows 2 s",
		apps: 1, limit: 30 * time.Second,
		inject: restartWith("slow"),
	},
	{
		name: "slow-start-silent", what: "the same, but it does not listen before it has loaded",
		apps: 1, limit: 30 * time.Second,
		inject: restartWith("silent"),
	},
	{
		name: "wrong-password", what: "the database's password is changed; a person puts that right after 12 s",
		apps: 1, limit: 30 * time.Second, mendAfter: 12 * time.Second,
		inject: redis("ACL", "SETUSER", "app", "resetpass", ">changed"),
		mend:   redis("ACL", "SETUSER", "app", ">"+password),
	},
	{
		name: "full-disk", what: "the application's disk fills up; a person makes room after 12 s",
		apps: 1, disk: true, limit: 30 * time.Second, mendAfter: 12 * time.Second,
		inject: onDisk("fill"),
		mend:   onDisk("empty"),
	},
	{
		name: "storm", what: "ten applications hang at once",
		apps: 10, helps: tenApps(1), limit: 30 * time.Second,
		inject: inApps("fault", "hang"),
	},
	{
		name: "storm-behind-one", what: "the database of ten applications answers nothing any more",
		apps: 10, helps: map[string]int{"db": 1}, limit: 30 * time.Second,
		inject: fatal("DEBUG", "SLEEP", "3600"),
	},
	{
		name: "flapping", what: "the application breaks 2 s after each start; a person mends that after 25 s",
		apps: 1, helps: map[string]int{"app": anyNumber}, limit: 40 * time.Second, mendAfter: 25 * time.Second,
		inject: inApps("fault", "flap"),
		mend:   func(ctx context.Context, s *system) error { _, err := s.exec(ctx, "app", "mend"); return err },
	},
}

// in is the container that breaks, or one of them.
func (f fault) in(s *system) string {
	if _, ok := f.helps["db"]; ok {
		return "db"
	}
	return s.apps[0]
}

func tenApps(n int) map[string]int {
	m := map[string]int{}
	for _, name := range appNames(10) {
		m[name] = n
	}
	return m
}

// inApps breaks every application at once.
func inApps(args ...string) func(context.Context, *system) error {
	return func(ctx context.Context, s *system) error {
		return atOnce(s.apps, func(name string) error { return s.breaks(ctx, name, args...) })
	}
}

// onDisk runs in the client's container, where the application's disk is
// mounted as well, since the application may be down.
func onDisk(what string) func(context.Context, *system) error {
	return func(ctx context.Context, s *system) error { return s.breaks(ctx, "client", what) }
}

// restartWith restarts the application as a person does who brings out a
// version that starts slowly.
func restartWith(how string) func(context.Context, *system) error {
	return func(ctx context.Context, s *system) error {
		if _, err := s.exec(ctx, "app", "fault", how); err != nil {
			return err
		}
		s.began = time.Now()
		_, err := docker(ctx, "restart", s.full("app"))
		s.counted = time.Now()
		return err
	}
}

// redis sends the database a command.
func redis(command ...string) func(context.Context, *system) error {
	return func(ctx context.Context, s *system) error {
		return s.breaks(ctx, "client", append([]string{"redis", "db:6379", "default", adminPassword}, command...)...)
	}
}

// fatal sends one that the database cannot answer any more.
func fatal(command ...string) func(context.Context, *system) error {
	return func(ctx context.Context, s *system) error {
		redis(command...)(ctx, s)
		return ctx.Err()
	}
}
