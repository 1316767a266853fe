package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
)

// row is a situation, and what follows from it.
type row struct {
	given   []given
	next    string
	effects []string
}

func TestDecideAPodWithoutAVM(t *testing.T) {
	runRows(t, map[string]row{
		"a new pod gets a VM, and its images begin to come": {
			[]given{sidecarToo}, "create", []string{"bring app", "bring log"},
		},
		"an image that was asked for is not asked for again": {[]given{late("app")}, "create", nil},
		"a pod whose spec is not known waits for it":         {[]given{theSpecIsUnknown}, "wait", nil},
		"a pod that this host can't honour gets no VM, and its user hears why": {
			[]given{hostNetwork},
			"wait",
			[]string{"Warning UnsupportedField : Pod is not started: spec.hostNetwork"},
		},
		"why a pod is refused is said once": {
			[]given{hostNetwork, remembering(func(m *memory) { m.refused = assert.AnError })}, "wait", nil,
		},
		"a new version of a refused pod is judged anew": {
			[]given{sawBefore(func(p *corev1.Pod) { p.Generation = 0 }), remembering(func(m *memory) { m.refused = assert.AnError })},
			"create",
			[]string{"bring app"},
		},
		"a new status of a refused pod changes nothing": {
			[]given{sawBefore(func(p *corev1.Pod) { p.Status.Message = "other" }), remembering(func(m *memory) { m.refused = assert.AnError })},
			"wait", nil,
		},
		"a pod that was not admitted gets no VM":               {[]given{rejected}, "wait", nil},
		"a pod that was not admitted needs no images any more": {[]given{rejected, late("app")}, "wait", []string{"drop late images"}},
		"a pod that is final gets no VM":                       {[]given{reported(corev1.PodSucceeded)}, "wait", nil},
		"a pod whose deadline has passed gets no VM":           {[]given{deadline(10), late("app")}, "wait", []string{"drop late images"}},
		"a pod within its deadline gets its VM":                {[]given{deadline(60), late("app")}, "create", nil},
		"a debugger's image comes when the pod runs":           {[]given{debugger}, "create", []string{"bring app"}},
	})
}

func TestDecideAVMThatIsOff(t *testing.T) {
	runRows(t, map[string]row{
		"it is powered on while its image is on its way":     {[]given{created, late("app")}, "powerOn", nil},
		"it has the images that are here from the start":     {[]given{created, sidecarToo, here("app"), late("log")}, "powerOn with app", nil},
		"without hot-add it waits for all images":            {[]given{created, noHotAdd, sidecarToo, here("app"), late("log")}, "wait", nil},
		"without hot-add it is powered on with all images":   {[]given{created, noHotAdd, here("app")}, "powerOn with app", nil},
		"without hot-add it waits for no debugger":           {[]given{created, noHotAdd, debugger, here("app")}, "powerOn with app", nil},
		"it gets the disks of its claims first":              {[]given{created, claim, here("app")}, "volumes", nil},
		"it is powered on when it has them":                  {[]given{created, claim, hasTheClaimsDisk, diskIsKnown, here("app")}, "powerOn with app", nil},
		"which disks they are is found out after a restart":  {[]given{created, claim, hasTheClaimsDisk, here("app")}, "volumes", nil},
		"a disk that it lost is attached again":              {[]given{created, claim, diskIsKnown, here("app")}, "volumes", nil},
		"a disk that another gave back is tried for at once": {[]given{created, claim, here("app"), func(s *situation) { s.releases = 1 }}, "volumes", []string{"try volumes"}},
		"it is removed when its pod is past its deadline":    {[]given{created, deadline(10)}, "remove", nil},
		"it is removed when its pod is final":                {[]given{created, reported(corev1.PodFailed)}, "remove", nil},
		"it is removed when its pod was not admitted":        {[]given{created, rejected}, "remove", nil},
		"it is left alone while the spec is not known":       {[]given{created, theSpecIsUnknown}, "wait", nil},
	})
}

func TestDecideAVMThatBoots(t *testing.T) {
	runRows(t, map[string]row{
		"its guest is waited for":                            {[]given{runs}, "greet", nil},
		"a guest that has greeted is configured":             {[]given{runs, greeted}, "configure seed app", []string{"bring app"}},
		"the greeting of another boot does not count":        {[]given{runs, greetsBefore}, "greet", nil},
		"a guest that waits for its plan gets it":            {[]given{runs, guest(wire.PhaseWaiting), late("app")}, "configure seed app", nil},
		"a guest that took its plan has a while to say so":   {[]given{runs, guest(wire.PhaseWaiting), configured, late("app")}, "wait 3s", nil},
		"a guest is not configured without the claims' disk": {[]given{runs, guest(wire.PhaseWaiting), claim, late("app")}, "volumes", nil},
		"a guest hears what its containers did before": {
			[]given{runs, greeted, former(wire.PhaseConfigured, running("app")), late("app")}, "configure seed app restarted 1", nil,
		},
	})
}

func TestDecideAGuestThatIsConfigured(t *testing.T) {
	is := guest(wire.PhaseConfigured)
	has := guest(wire.PhaseConfigured, running("app"))
	hasOther := guest(wire.PhaseConfigured, wire.ContainerStatus{Name: "app", Known: true, State: wire.ContainerRunning, Revision: "other"})
	runRows(t, map[string]row{
		"a container runs when its image is here":                     {[]given{runs, is, here("app")}, "containers run app", nil},
		"a container whose image is late waits":                       {[]given{runs, is, late("app")}, "wait", nil},
		"a container whose image is late holds up no other":           {[]given{runs, is, sidecarToo, late("app"), here("log")}, "containers run log", nil},
		"a container that the guest has is left alone":                {[]given{runs, has, here("app")}, "wait", nil},
		"a container that the guest has needs no image":               {[]given{runs, has}, "wait", nil},
		"a container that the guest took is not given again":          {[]given{runs, is, took, here("app")}, "wait", nil},
		"what another boot took counts for nothing":                   {[]given{runs, is, took, remembering(func(m *memory) { m.boot.id = "boot-1" }), here("app")}, "containers run app", nil},
		"a container that failed waits for its next try":              {[]given{runs, is, here("app"), backsOff("run/app", 4*time.Second)}, "wait 4s", nil},
		"a container that failed holds up no other":                   {[]given{runs, is, sidecarToo, here("app"), here("log"), backsOff("run/app", 4*time.Second)}, "containers run log", nil},
		"a container that failed runs when its time has come":         {[]given{runs, is, here("app"), backsOff("run/app", 0)}, "containers run app", nil},
		"a container of another image is replaced":                    {[]given{runs, hasOther, here("app")}, "containers run app", nil},
		"another image in the spec is brought at once":                {[]given{runs, hasOther, sawBefore(func(p *corev1.Pod) { p.Spec.Containers[0].Image = "example.com/app:0" })}, "wait", []string{"drop app", "try run/app", "bring app"}},
		"volumes are delivered, and then containers run":              {[]given{runs, is, configMap, here("app")}, "containers files run app", nil},
		"volumes are delivered while images are late":                 {[]given{runs, is, configMap, late("app")}, "containers files", nil},
		"volumes that are there hold up no container":                 {[]given{runs, is, configMap, deliveredAndDueIn(30 * time.Second), here("app")}, "containers run app", nil},
		"volumes of another boot are delivered again":                 {[]given{runs, is, configMap, deliveredAndDueIn(30 * time.Second), remembering(func(m *memory) { m.boot.id, m.boot.delivery.BootID = "boot-1", "boot-1" }), here("app")}, "containers files run app", nil},
		"volumes that are due are delivered again":                    {[]given{runs, has, configMap, deliveredAndDueIn(0)}, "containers files", nil},
		"volumes are looked at when they are due":                     {[]given{runs, has, configMap, deliveredAndDueIn(30 * time.Second)}, "wait 30s", nil},
		"volumes that failed hold up the containers":                  {[]given{runs, is, configMap, here("app"), backsOff("files", 8*time.Second)}, "wait 8s", nil},
		"volumes show a new label at once":                            {[]given{runs, has, configMap, deliveredAndDueIn(30 * time.Second), sawBefore(func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} })}, "containers files", nil},
		"the sooner of two waits counts":                              {[]given{runs, is, configMap, deliveredAndDueIn(30 * time.Second), here("app"), backsOff("run/app", 4*time.Second)}, "wait 4s", nil},
		"a debugger's image comes now":                                {[]given{runs, has, debugger}, "wait", []string{"bring debug"}},
		"a debugger joins":                                            {[]given{runs, has, debugger, here("debug")}, "containers run debug", nil},
		"a debugger that this host can't honour does not":             {[]given{runs, has, barredDebugger}, "wait", []string{"Warning UnsupportedField debug: Container is not started: spec.ephemeralContainers[0].securityContext.seLinuxOptions"}},
		"a refusal of what runs already is not asked for":             {[]given{runs, has, hostNetwork}, "wait", nil},
		"a pod that had no pod for a while is not an orphan any more": {[]given{runs, has, kept(`{"orphanSince":"2026-01-02T11:00:00Z"}`)}, "wait", []string{"keep {}"}},
	})
}

func TestDecideTheEndOfAPodThatRuns(t *testing.T) {
	has := guest(wire.PhaseConfigured, running("app"))
	done := guest(wire.PhaseDone, over("app", 0))
	runRows(t, map[string]row{
		"a guest that was asked to stop is asked on":              {[]given{runs, guest(wire.PhaseStopping, running("app")), because(wire.StopReasonDeadline)}, "stop in 30s for DeadlineExceeded", nil},
		"a guest whose containers have ended is powered off":      {[]given{runs, done}, "stop in 30s", nil},
		"the logs are not waited for long when the node ended it": {[]given{runs, done, because(plan.StopReasonNodeShutdown)}, "stop in 30s for NodeShutdown logs 10s", nil},
		"a pod that is final is stopped":                          {[]given{runs, has, reported(corev1.PodFailed)}, "stop in 30s", nil},
		"a pod that was not admitted is stopped":                  {[]given{runs, has, rejected}, "stop in 30s", nil},
		"a pod past its deadline is stopped":                      {[]given{runs, has, deadline(10)}, "stop in 30s for DeadlineExceeded", nil},
		"a pod that ended before its deadline is not past it":     {[]given{runs, done, deadline(10)}, "stop in 30s", nil},
		"a deleted pod has the grace period of the deletion":      {[]given{runs, has, deletedWithin(5)}, "stop in 5s logs 10s", nil},
		"no grace period is a second":                             {[]given{runs, has, deletedWithin(0)}, "stop in 1s logs 10s", nil},
		"a pod whose object is gone has little time":              {[]given{runs, has, theObjectIsGone}, "stop in 2s logs 10s", []string{`keep {"gone":true}`}},
		"a guest without a plan is idle":                          {[]given{runs, greeted, former(wire.PhaseConfigured, running("app")), deletedWithin(30)}, "stop in 30s logs 10s idle", nil},
		"the node's end stops the pod":                            {[]given{runs, has, theNodeEnds}, "stop in 30s for NodeShutdown logs 10s", nil},
		"the node's end stops a VM whose pod was never seen":      {[]given{runs, has, theSpecIsUnknown, theNodeEnds}, "stop in 30s for NodeShutdown logs 10s", nil},
		"a deletion goes before the node's end":                   {[]given{runs, has, deletedWithin(5), theNodeEnds}, "stop in 5s logs 10s", nil},
		"images that are late are given up":                       {[]given{runs, has, sidecarToo, late("log"), deletedWithin(5)}, "stop in 5s logs 10s", []string{"drop late images"}},
	})
}

func TestDecideAVMThatEnded(t *testing.T) {
	ran := former(wire.PhaseConfigured, running("app"))
	const again = "2026-01-02T12:00:00Z"
	runRows(t, map[string]row{
		"one that was killed is powered on at once": {
			[]given{stopped, endedBecause("signal: killed"), ran, here("app")},
			"powerOn with app",
			[]string{
				"Warning PodVMEnded : Pod VM ended unexpectedly: signal: killed",
				`keep {"endedBoot":"boot-1","ends":1,"restartAt":"` + again + `"}`,
			},
		},
		"one that is gone is made again at once": {
			[]given{ran, here("app")}, "create", []string{"Warning PodVMEnded : Pod VM ended unexpectedly: it is gone"},
		},
		"one that ends again waits": {
			[]given{stopped, ran, here("app"), kept(`{"endedBoot":"boot-0","ends":1}`)},
			"wait 10s",
			[]string{
				"Warning PodVMEnded : Pod VM ended unexpectedly: it was powered off",
				`keep {"endedBoot":"boot-1","ends":2,"restartAt":"2026-01-02T12:00:10Z"}`,
			},
		},
		"one that ends time and again waits longer": {
			[]given{stopped, ran, here("app"), kept(`{"endedBoot":"boot-0","ends":3}`)},
			"wait 40s",
			[]string{
				"Warning PodVMEnded : Pod VM ended unexpectedly: it was powered off",
				`keep {"endedBoot":"boot-1","ends":4,"restartAt":"2026-01-02T12:00:40Z"}`,
			},
		},
		"one that ran for long before it ended begins anew": {
			[]given{stopped, ran, here("app"), kept(`{"endedBoot":"boot-0","ends":3}`), func(s *situation) { s.vm.StartedAt = noon.Add(-time.Hour) }},
			"powerOn with app",
			[]string{
				"Warning PodVMEnded : Pod VM ended unexpectedly: it was powered off",
				`keep {"endedBoot":"boot-1","ends":1,"restartAt":"` + again + `"}`,
			},
		},
		"its end is shown once": {
			[]given{stopped, ran, here("app"), kept(`{"endedBoot":"boot-1","ends":2,"restartAt":"2026-01-02T12:00:07Z"}`)}, "wait 7s", nil,
		},
		"its end is remembered though the VM is gone": {[]given{ran, here("app"), restartsIn(7 * time.Second)}, "wait 7s", nil},
		"its images come while it waits":              {[]given{ran, restartsIn(7 * time.Second)}, "wait 7s", []string{"bring app"}},
		"one that ended before it had a plan is no surprise": {
			[]given{stopped, former(wire.PhaseWaiting), here("app")}, "powerOn with app", nil,
		},
		"one that the node's end has stopped is no surprise": {
			[]given{stopped, former(wire.PhaseStopping, running("app")), because(plan.StopReasonNodeShutdown), here("app")},
			"powerOn with app",
			[]string{`keep {"endedBoot":"boot-1"}`},
		},
		"one whose containers the node's end has ended starts again": {
			[]given{stopped, former(wire.PhaseDone, over("app", 0)), because(plan.StopReasonNodeShutdown), here("app")}, "powerOn with app", nil,
		},
		"one of a pod that never restarts stays off after the node's end": {
			[]given{stopped, neverAgain, former(wire.PhaseDone, over("app", 0)), because(plan.StopReasonNodeShutdown)}, "wait", nil,
		},
		"one of a pod that never restarts is not made again": {
			[]given{ran, neverAgain}, "wait", []string{"Warning PodVMEnded : Pod VM ended unexpectedly: it is gone"},
		},
		"one whose containers have ended stays off":      {[]given{stopped, former(wire.PhaseDone, over("app", 0))}, "wait", nil},
		"one of a final pod gives its volumes back":      {[]given{stopped, reported(corev1.PodSucceeded), claim, hasTheClaimsDisk}, "release", nil},
		"one of a final pod stays for its logs":          {[]given{stopped, reported(corev1.PodSucceeded)}, "wait", nil},
		"one of a pod past its deadline stays for logs":  {[]given{stopped, ran, deadline(10), kept(`{"endedBoot":"boot-1"}`)}, "wait", nil},
		"one of a deleted pod is removed without a word": {[]given{stopped, ran, deletedWithin(5)}, "remove", nil},
	})
}

func TestDecideWhenNothingIsLeft(t *testing.T) {
	runRows(t, map[string]row{
		"a deleted pod without a VM is finished":              {[]given{deletedWithin(5)}, "wait", []string{"finish"}},
		"a deleted pod is not judged by its fields":           {[]given{deletedWithin(5), hostNetwork}, "wait", []string{"finish"}},
		"a deleted pod's VM is removed":                       {[]given{created, deletedWithin(5)}, "remove", nil},
		"a pod whose object is gone is forgotten":             {[]given{theObjectIsGone}, "forget", nil},
		"a pod whose object is gone has its VM removed first": {[]given{created, theObjectIsGone}, "remove", []string{`keep {"gone":true}`}},
		"that an object is gone outlives this program":        {[]given{created, theSpecIsUnknown, kept(`{"gone":true}`)}, "wait", nil},
		"the node's end ends a worker whose VM is off":        {[]given{stopped, theNodeEnds}, "over", nil},
		"the node's end makes no VM":                          {[]given{theNodeEnds, late("app")}, "over", []string{"drop late images"}},
		"the node's end waits for a deleted pod's VM":         {[]given{stopped, deletedWithin(5), theNodeEnds}, "remove", nil},
		"the node's end waits for nothing that is finished":   {[]given{deletedWithin(5), theNodeEnds}, "over", []string{"finish"}},
		"the node's end is no surprise":                       {[]given{stopped, former(wire.PhaseConfigured, running("app")), theNodeEnds}, "over", nil},
	})
}

func TestAfterFollowsTheGuest(t *testing.T) {
	has := guest(wire.PhaseConfigured, running("app"))
	started := says(
		wire.Event{Seq: 6, Container: "app", Reason: "Started", Message: "Container started"},
		wire.Event{Seq: 7, Container: "app", Warning: true, Reason: "Unhealthy", Message: "Readiness probe failed"},
	)
	seen := func(boot string, seq uint64) given {
		return remembering(func(m *memory) { m.boot.id, m.boot.events = boot, seq })
	}
	both := []string{"Normal Started app: Container started", "Warning Unhealthy app: Readiness probe failed", "acknowledge 7 of boot-2"}
	runRows(t, map[string]row{
		"its events are shown, and acknowledged":             {[]given{runs, has, started}, "wait", both},
		"those that were shown are not shown again":          {[]given{runs, has, started, seen("boot-2", 6)}, "wait", both[1:]},
		"what was acknowledged in vain is acknowledged anew": {[]given{runs, has, started, seen("boot-2", 7)}, "wait", both[2:]},
		"another boot counts its events anew":                {[]given{runs, has, started, seen("boot-1", 9)}, "wait", both},
		"silence of less than 40 s is none":                  {[]given{runs, has, silentFor(39 * time.Second)}, "wait", nil},
		"silence is reported":                                {[]given{runs, has, silentFor(41 * time.Second)}, "wait", []string{"silent since 11:59:19"}},
		"silence is reported once": {
			[]given{runs, has, silentFor(41 * time.Second), remembering(func(m *memory) { m.silence = noon.Add(-41 * time.Second) })}, "wait", nil,
		},
		"another silence is reported again": {
			[]given{runs, has, silentFor(41 * time.Second), remembering(func(m *memory) { m.silence = noon.Add(-time.Hour) })},
			"wait",
			[]string{"silent since 11:59:19"},
		},
	})
}

// runRows checks each row twice, so that nothing of the first run is left in the situation.
func runRows(t *testing.T, rows map[string]row) {
	t.Helper()
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			s := newSituation(r.given)
			next, effects := s.outcome()
			assert.Equal(t, r.next, next)
			assert.Equal(t, r.effects, effects)
			assert.Equal(t, newSituation(r.given), s, "neither the view nor the memory has changed")
		})
	}
}
