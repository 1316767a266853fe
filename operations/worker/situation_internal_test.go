package worker

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/fields"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/status"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/steps"
)

// noon is when all situations are looked at.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// situation is a view with a memory. It begins as a new pod of one container whose spec is known, on a host that can do
// everything and has no VM of it.
type situation struct {
	*view
	memory memory
}

// given changes a situation.
type given func(*situation)

func newSituation(all []given) *situation {
	s := &situation{view: &view{
		now: noon, host: podvm.Capabilities{PodNetwork: true, HotAddDisk: true, Volumes: "disks.example"},
		images: map[string]image{}, failures: map[string]steps.Try{},
		desired: desired{known: true, pod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "uid-1", Generation: 1},
			Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyAlways,
				Containers:    []corev1.Container{{Name: "app", Image: "example.com/app:1"}},
			},
		}},
	}}
	for _, g := range all {
		g(s)
	}
	return s
}

// What is wanted.

func theSpecIsUnknown(s *situation) { s.known = false }
func theObjectIsGone(s *situation)  { s.gone = true }
func theNodeEnds(s *situation)      { s.shutdown = true }

func deletedWithin(seconds int64) given {
	return func(s *situation) {
		s.pod.DeletionTimestamp, s.pod.DeletionGracePeriodSeconds = &metav1.Time{Time: noon}, &seconds
	}
}

func spec(change func(*corev1.PodSpec)) given { return func(s *situation) { change(&s.pod.Spec) } }

var (
	hostNetwork = spec(func(s *corev1.PodSpec) { s.HostNetwork = true })
	neverAgain  = spec(func(s *corev1.PodSpec) { s.RestartPolicy = corev1.RestartPolicyNever })
	sidecarToo  = spec(func(s *corev1.PodSpec) {
		s.Containers = append(s.Containers, corev1.Container{Name: "log", Image: "example.com/log:1"})
	})
	debugger = spec(func(s *corev1.PodSpec) {
		s.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "example.com/debug:1"}}}
	})
	barredDebugger = spec(func(s *corev1.PodSpec) {
		s.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: "debug", SecurityContext: &corev1.SecurityContext{SELinuxOptions: &corev1.SELinuxOptions{Level: "s0"}},
		}}}
	})
	configMap = spec(func(s *corev1.PodSpec) {
		s.Volumes = []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}}}
		s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "config", MountPath: "/config"}}
	})
	claim = spec(func(s *corev1.PodSpec) {
		s.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
		}}}
		s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	})
)

// deadline of the pod, which started 30 seconds ago.
func deadline(seconds int64) given {
	return func(s *situation) {
		s.pod.Spec.ActiveDeadlineSeconds = &seconds
		s.status.StartTime = &metav1.Time{Time: noon.Add(-30 * time.Second)}
	}
}

func reported(p corev1.PodPhase) given { return func(s *situation) { s.status.Phase = p } }

// What the host holds. A VM that runs was started a minute ago.

func vm(state portlayer.State) given {
	return func(s *situation) {
		s.vm = &podvm.VM{VM: portlayer.VM{State: state}}
		if state == portlayer.StateRunning || state == portlayer.StateStopped {
			s.vm.StartedAt = noon.Add(-time.Minute)
		}
	}
}

var (
	created = vm(portlayer.StateCreated)
	runs    = vm(portlayer.StateRunning)
	stopped = vm(portlayer.StateStopped)
)

func noHotAdd(s *situation) { s.host.HotAddDisk = false }

func hasTheClaimsDisk(s *situation) {
	s.vm.Spec.Disks = append(s.vm.Spec.Disks, portlayer.Disk{Kind: portlayer.DiskVolume, Serial: "vol-1"})
}

func kept(record string) given { return func(s *situation) { s.vm.Record = []byte(record) } }

func silentFor(d time.Duration) given {
	return func(s *situation) { s.vm.SilentSince = noon.Add(-d) }
}

func endedBecause(why string) given { return func(s *situation) { s.vm.StopReason = why } }

// What the guest says. guest is of the boot that runs; former is of a boot that is over, which ended half a minute ago.

func guest(phase wire.Phase, containers ...wire.ContainerStatus) given {
	return func(s *situation) {
		s.vm.Current, s.vm.Greeted = true, true
		s.vm.Guest = &wire.Snapshot{BootID: "boot-2", Phase: phase, Time: noon, Containers: containers}
	}
}

func former(phase wire.Phase, containers ...wire.ContainerStatus) given {
	return func(s *situation) {
		g := &wire.Snapshot{BootID: "boot-1", Phase: phase, Time: noon.Add(-30 * time.Second), Containers: containers}
		if s.vm == nil {
			s.memory.guest = g
		} else {
			s.vm.Guest = g
		}
	}
}

func because(reason string) given { return func(s *situation) { s.vm.Guest.StopReason = reason } }

func says(events ...wire.Event) given { return func(s *situation) { s.vm.Guest.Events = events } }

// container is one that the guest has as it is now.
func container(name string, state wire.ContainerState) wire.ContainerStatus {
	m := plan.Member{Container: &corev1.Container{Image: "example.com/" + name + ":1"}}
	return wire.ContainerStatus{Name: name, Known: true, State: state, Revision: m.Revision()}
}

func running(name string) wire.ContainerStatus { return container(name, wire.ContainerRunning) }

// over is a container that ended with that code and is not started again.
func over(name string, code int32) wire.ContainerStatus {
	c := container(name, wire.ContainerTerminated)
	c.Final, c.Current = true, &wire.Terminated{ExitCode: code, FinishedAt: noon}
	return c
}

// Images and failures.

func here(container string) given {
	return func(s *situation) {
		s.images[container] = image{ref: "example.com/" + container + ":1", here: &persona.Image{ID: container}}
	}
}

func late(container string) given {
	return func(s *situation) {
		s.images[container] = image{ref: "example.com/" + container + ":1", waiting: status.Waiting{Reason: "ErrImagePull", Message: "no route"}}
	}
}

// backsOff is a step, or a part of one, that failed and is tried again after d.
func backsOff(name string, d time.Duration) given {
	return func(s *situation) {
		s.failures[name] = steps.Try{Err: fmt.Errorf("%s failed", name), Until: noon.Add(d)}
	}
}

// What is remembered.

func remembering(change func(*memory)) given { return func(s *situation) { change(&s.memory) } }

var (
	rejected     = remembering(func(m *memory) { m.rejected = &RejectionError{Reason: "OutOfcpu"} })
	greeted      = remembering(func(m *memory) { m.greeted = noon.Add(-time.Minute) })
	greetsBefore = remembering(func(m *memory) { m.greeted = noon.Add(-time.Hour) })
	configured   = remembering(func(m *memory) { m.configured = noon.Add(-2 * time.Second) })
	diskIsKnown  = remembering(func(m *memory) { m.disks = map[string]plan.Disk{"data": {Serial: "vol-1"}} })
	took         = remembering(func(m *memory) {
		m.boot = boot{id: "boot-2", taken: map[string]string{"app": running("app").Revision}}
	})
)

// restartsIn is a VM whose end was seen, and that may start again after d.
func restartsIn(d time.Duration) given {
	return remembering(func(m *memory) {
		m.recalled = true
		m.record = record{EndedBoot: "boot-1", Ends: 2, RestartAt: noon.Add(d)}
	})
}

func deliveredAndDueIn(d time.Duration) given {
	return remembering(func(m *memory) {
		m.boot.id = "boot-2"
		m.boot.delivery = Delivery{BootID: "boot-2", Sums: map[string][32]byte{"config": {}}, Due: noon.Add(d)}
	})
}

// sawBefore is the pod as it was at the look before.
func sawBefore(change func(*corev1.Pod)) given {
	return func(s *situation) {
		before := s.pod.DeepCopy()
		change(before)
		s.memory.pod = before
	}
}

// outcome is what follows from a situation, in words: the step or the wait, and all effects in their order.
func (s *situation) outcome() (next string, effects []string) {
	m, all := s.memory.after(s.view)
	d := decide(s.view, m)
	for _, e := range append(all, d.effects...) {
		effects = append(effects, describeEffect(e))
	}
	switch {
	case d.step.name != "":
		return describeStep(d.step), effects
	case d.over:
		return "over", effects
	case d.wait > 0:
		return "wait " + d.wait.String(), effects
	}
	return "wait", effects
}

func describeStep(s step) string {
	text := []string{s.name}
	for _, img := range s.images {
		text = append(text, "with", img.ID)
	}
	for _, seed := range s.boot.Seeds {
		text = append(text, "seed", seed.Name)
		if seed.RestartCount > 0 {
			text = append(text, fmt.Sprintf("restarted %d", seed.RestartCount))
		}
		if seed.Final {
			text = append(text, "final")
		}
	}
	if s.deliver {
		text = append(text, "files")
	}
	for _, run := range s.runs {
		text = append(text, "run", run.Name)
	}
	if s.name == stepStop {
		text = append(text, "in", s.stop.Grace.String())
		if s.stop.Reason != "" {
			text = append(text, "for", s.stop.Reason)
		}
		if s.stop.LogsWithin > 0 {
			text = append(text, "logs", s.stop.LogsWithin.String())
		}
		if s.stop.Idle {
			text = append(text, "idle")
		}
	}
	return strings.Join(text, " ")
}

func describeEffect(e effect) string {
	switch e := e.(type) {
	case emit:
		if e.Reason == fields.Reason {
			e.Message = e.Message[:strings.LastIndex(e.Message, ": ")] // why is the business of package fields
		}
		return strings.TrimSpace(fmt.Sprintf("%s %s %s: %s", e.Type, e.Reason, e.container, e.Message))
	case reportSilence:
		return "silent since " + e.since.Format(time.TimeOnly)
	case acknowledge:
		return fmt.Sprintf("acknowledge %d of %s", e.last, e.bootID)
	case keep:
		return "keep " + string(e.text())
	case tryNow:
		return "try " + e.name
	case wantImage:
		return "bring " + e.container.Name
	case dropImage:
		return "drop " + e.container
	case dropLateImages:
		return "drop late images"
	case finish:
		return "finish"
	}
	return fmt.Sprintf("%T", e)
}
