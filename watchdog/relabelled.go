package watchdog

import (
	"context"
	"sync/atomic"

	"healthcheck/watchdog/recovery"
)

// Relabelled is an engine whose containers have labels that a configuration
// gives them. Its methods may be called from any goroutine.
type Relabelled struct {
	Engine
	overrides atomic.Pointer[recovery.Overrides]
}

// Use sets the overrides for what is listed and inspected from now on.
func (r *Relabelled) Use(o recovery.Overrides) { r.overrides.Store(&o) }

func (r *Relabelled) apply(c recovery.Container) recovery.Container {
	if o := r.overrides.Load(); o != nil {
		return o.Apply(c)
	}
	return c
}

// List implements Engine.
func (r *Relabelled) List(ctx context.Context) ([]recovery.Container, error) {
	all, err := r.Engine.List(ctx)
	for i := range all {
		all[i] = r.apply(all[i])
	}
	return all, err
}

// Inspect implements Engine.
func (r *Relabelled) Inspect(ctx context.Context, id string) (recovery.Container, error) {
	c, err := r.Engine.Inspect(ctx, id)
	if err == nil {
		c = r.apply(c)
	}
	return c, err
}
