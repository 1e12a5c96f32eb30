package jobs

import "context"

// The jobs that only move what billing keeps.

func runPlans(ctx context.Context, r *Run) error { return r.ranges(ctx, "plans") }

func runGrace(ctx context.Context, r *Run) error { return r.ranges(ctx, "grace") }

func runDormant(ctx context.Context, r *Run) error { return r.ranges(ctx, "dormant") }
