package steps_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/virtual-kubelet/vic/steps"
)

// A lamp is on or off. Its loop ends when it is as it should be.
type lamp struct{ on, wanted bool }

// view is what a look at a lamp has seen.
type view struct{ lamp }

func (v view) Mark() any          { return v.on }
func (v view) Turned() bool       { return !v.wanted }
func (view) Lasts() time.Duration { return 0 }

func (l *lamp) Look(context.Context) (view, error) { return view{*l}, nil }

func (l *lamp) Next(_ context.Context, v view) steps.Decision {
	if v.on == v.wanted {
		return steps.Decision{Over: true}
	}
	return steps.Decision{Step: steps.Step{
		Name: "switch", Builds: v.wanted, Timeout: time.Second,
		Do: func(context.Context) steps.Outcome {
			return steps.Outcome{Then: func() { l.on = v.wanted }}
		},
	}}
}

func (l *lamp) Ended(_ context.Context, r steps.Result) { fmt.Fprintln(os.Stdout, r.Step.Name, l.on) }

// A loop does what its subject decides until nothing is left to do.
func ExampleLoop() {
	steps.New(steps.Config{Kind: "lamp"}, &lamp{wanted: true}).Run(context.Background())
	// Output: switch true
}
