package sdk

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Plan is a step that is about to split itself into several.
type Plan[S any] struct {
	Settings S
	Info     Info

	call *planCall
}

// Planned is one of the steps of a plan.
type Planned[S any] struct {
	// Name must be unique within the plan; letters, digits, '-', '_' and '.'.
	Name string
	// Settings are the planned step's own, whole: they go to Run.
	Settings S
	// Order: equal orders may run side by side, as far as the task allows.
	// It must not decrease from one planned step to the next.
	Order int
	// Weight is the share of the progress; 0 means 1.
	Weight float64
	// ETA is how long it will take, 0 when not known.
	ETA time.Duration
}

// Add appends a step to the plan. The steps become durable together when Plan
// returns nil, before the first of them starts. A plan may be large: steps are
// sent in batches and not kept.
func (p *Plan[S]) Add(step Planned[S]) error {
	settings, err := json.Marshal(step.Settings)
	if err != nil {
		return fmt.Errorf("encode settings of planned step %s: %w", step.Name, err)
	}
	return p.call.add(step.Name, settings, step.Order, step.Weight, step.ETA)
}

// Keep holds value open for the planned steps, which find it with Session, and
// closes it when the run has ended. Should this process end before, the whole
// plan starts again: its completed steps too, as they belong to a session that
// is lost. One value a plan.
func (p *Plan[S]) Keep(value io.Closer) { p.call.keep(value) }

// Message sets what is shown beside the plan: "132 tables, 40 MB".
func (p *Plan[S]) Message(format string, args ...any) {
	p.call.setMessage(fmt.Sprintf(format, args...))
}

// Log writes into the run's log.
func (p *Plan[S]) Log() hclog.Logger { return p.call.logger() }
