package worker

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
)

func TestAViewLastsUntilTimeAloneChangesIt(t *testing.T) {
	tests := map[string]struct {
		given []given
		want  time.Duration // but for a millisecond; 0: for ever
	}{
		"for ever":                            {nil, 0},
		"until the deadline":                  {[]given{deadline(50)}, 20 * time.Second},
		"for ever after the deadline":         {[]given{deadline(10)}, 0},
		"until a silent guest is unreachable": {[]given{runs, silentFor(35 * time.Second)}, 5 * time.Second},
		"for ever after that":                 {[]given{runs, silentFor(time.Minute)}, 0},
		"until what comes first of these":     {[]given{runs, deadline(50), silentFor(35 * time.Second)}, 5 * time.Second},
		"until what is left of these":         {[]given{runs, deadline(50), silentFor(time.Minute)}, 20 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tt.want, newSituation(tt.given).Lasts().Truncate(time.Second))
		})
	}
}

func TestAMarkChangesWithWhatAStepMayBringAbout(t *testing.T) {
	base := []given{runs, guest(wire.PhaseConfigured), late("app")}
	before := newSituation(base).Mark()
	require.Equal(t, before, newSituation(base).Mark())
	changes := map[string]given{
		"the VM's state":       func(s *situation) { s.vm.State = portlayer.StateStopped },
		"the VM's version":     func(s *situation) { s.vm.Version++ },
		"another boot":         func(s *situation) { s.vm.Guest.BootID = "boot-3" },
		"another snapshot":     func(s *situation) { s.vm.Guest.Generation++ },
		"a guest that is lost": func(s *situation) { s.vm.Current = false },
		"the end of the logs":  func(s *situation) { s.vm.LogsComplete = true },
		"what is wanted":       func(s *situation) { s.revision++ },
		"an image":             here("app"),
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			assert.NotEqual(t, before, newSituation(append(slices.Clip(base), change)).Mark())
		})
	}
}

func TestAContainerShowsWhatHoldsItUp(t *testing.T) {
	tests := map[string]struct {
		given []given
		want  string // reason and message; empty: nothing is said
	}{
		"nothing":                                  {nil, ""},
		"a field that is not honoured":             {[]given{remembering(func(m *memory) { m.refused = assert.AnError })}, "UnsupportedField: " + assert.AnError.Error()},
		"that it is not honoured itself":           {[]given{remembering(func(m *memory) { m.barred = map[string]error{"app": assert.AnError} })}, "UnsupportedField: " + assert.AnError.Error()},
		"that it could not be run":                 {[]given{backsOff("run/app", 0), backsOff("volumes", 0)}, "CreateContainerError: run/app failed"},
		"not that another could not be run":        {[]given{backsOff("run/log", 0)}, ""},
		"that its VM ended again and again":        {[]given{restartsIn(time.Second), backsOff("volumes", 0)}, "CrashLoopBackOff: back-off restarting pod VM of default/web(uid-1)"},
		"not that, when the VM runs":               {[]given{runs, restartsIn(time.Second)}, ""},
		"its pod's claims":                         {[]given{backsOff("volumes", 0), backsOff("powerOn", 0)}, "ContainerCreating: volumes failed"},
		"that there is no VM":                      {[]given{backsOff("create", 0), late("app")}, "CreatePodSandboxError: create failed"},
		"that the VM does not start":               {[]given{backsOff("powerOn", 0), late("app")}, "CreatePodSandboxError: powerOn failed"},
		"that the guest does not take its plan":    {[]given{backsOff("configure", 0), late("app")}, "CreatePodSandboxError: configure failed"},
		"its image":                                {[]given{late("app"), backsOff("files", 0)}, "ErrImagePull: no route"},
		"its pod's files":                          {[]given{here("app"), backsOff("files", 0)}, "ContainerCreating: files failed"},
		"nothing, when the guest has it":           {[]given{runs, guest(wire.PhaseConfigured, running("app")), backsOff("files", 0)}, ""},
		"nothing, when the pod was not admitted":   {[]given{rejected, backsOff("create", 0)}, ""},
		"nothing, when the pod is being deleted":   {[]given{deletedWithin(5), backsOff("create", 0)}, ""},
		"nothing, when the pod has ended for good": {[]given{reported(corev1.PodFailed), backsOff("create", 0)}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSituation(tt.given)
			got := ""
			if why, ok := waiting(s.view, s.memory)["app"]; ok {
				got = why.Reason + ": " + why.Message
			}
			assert.Equal(t, tt.want, got)
		})
	}
}

// What looks and decides has no way to do anything: it gets no context, knows no clock, and no host.
func TestDecisionsHaveNoSideEffects(t *testing.T) {
	for _, file := range []string{"view.go", "memory.go", "record.go", "after.go", "step.go", "decide.go", "effect.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		for _, i := range f.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			assert.NotContains(t, []string{
				"context", "sync", "os", "github.com/virtual-kubelet/vic/internal/logging", "github.com/virtual-kubelet/vic/internal/tracing",
				"github.com/virtual-kubelet/vic/cache", "github.com/virtual-kubelet/vic/operations/images",
			}, path, file)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
					assert.NotContains(t, []string{"Now", "Since", "Until", "After", "Sleep"}, s.Sel.Name, file)
				}
			}
			_, isGo := n.(*ast.GoStmt)
			assert.False(t, isGo, file)
			return true
		})
	}
}
