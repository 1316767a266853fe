package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/persona"
)

// Settings are those of a process, which flags fill. A flag fills its field as it is parsed; ReadFile puts a file below what was
// given.
type Settings struct {
	Node *config.Node

	flags  *pflag.FlagSet
	bound  []*setting
	inFile bool // a field that was not given is the file's
}

// setting is a flag that fills the field at a path.
type setting struct {
	pflag.Value
	flag, path string
	given      []string // what it was set to, in order
}

// Set implements pflag.Value.
func (s *setting) Set(text string) error {
	if err := s.Value.Set(text); err != nil {
		return err
	}
	s.given = append(s.given, text)
	return nil
}

// NewSettings returns settings whose flags are added to a set, by the methods for the groups of flags that a command has. The defaults
// of the flags are what is in n.
func NewSettings(flags *pflag.FlagSet, n *config.Node) *Settings {
	return &Settings{Node: n, flags: flags}
}

// ReadFile takes what a file says for what was not given by a flag or by the environment.
func (s *Settings) ReadFile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	read, err := config.Parse(text)
	if err != nil {
		return Misused("--config %s: %w", path, err)
	}
	*s.Node, s.inFile = *read, true
	for _, b := range s.bound {
		if list, ok := b.Value.(resetter); ok && len(b.given) > 0 {
			list.reset()
		}
		for _, text := range b.given {
			if err := b.Value.Set(text); err != nil {
				return Misused("--%s: %w", b.flag, err)
			}
		}
	}
	return nil
}

// Name returns an error of settings as a misuse that names flags in the place of fields, and other errors as they are.
func (s *Settings) Name(err error) error {
	var wrong config.Errors
	if !errors.As(err, &wrong) {
		return err
	}
	named := make(config.Errors, 0, len(wrong))
	for _, one := range wrong {
		for _, b := range s.bound {
			below, isBelow := strings.CutPrefix(one.Path, b.path+".")
			if one.Path != b.path && !isBelow || s.inFile && len(b.given) == 0 {
				continue
			}
			if isBelow {
				one.Problem = below + ": " + one.Problem
			}
			one.Path = "--" + b.flag
			break
		}
		named = append(named, one)
	}
	return Misused("%w", named)
}

// bind has a flag that has been added to the set fill the field at path.
func (s *Settings) bind(path, flag string) {
	f := s.flags.Lookup(flag)
	b := &setting{Value: f.Value, flag: flag, path: path}
	f.Value = b
	s.bound = append(s.bound, b)
}

func (s *Settings) value(v pflag.Value, path, flag, usage string) {
	s.flags.Var(v, flag, usage)
	s.bind(path, flag)
}

func (s *Settings) text(to *string, path, flag, usage string) {
	s.flags.StringVar(to, flag, *to, usage)
	s.bind(path, flag)
}

func (s *Settings) number(to *int32, path, flag, usage string) {
	s.flags.Int32Var(to, flag, *to, usage)
	s.bind(path, flag)
}

// Kubeconfig adds the flag of the credential for the API server.
func (s *Settings) Kubeconfig() {
	s.text(&s.Node.Kubeconfig, "kubeconfig", "kubeconfig", "`FILE` with the node's credential (default, in a pod: that of its service account)")
}

// Dir adds the flag of the state directory.
func (s *Settings) Dir() { s.text(&s.Node.Dir, "dir", "dir", "state directory") }

// Process adds the flags of what holds for all nodes of a process, beside registries and images.
func (s *Settings) Process() {
	n := s.Node
	s.text(&n.Accelerator, "accel", "accel", "QEMU's accelerator: kvm, tcg or auto, which boots something to find out")
	s.text(&n.GuestImage, "guestImage", "guest-image", "`DIR` of vmlinuz and initrd.zst (default: guest/ beside the program)")
	s.text(&n.TracingEndpoint, "tracingEndpoint", "tracing-endpoint", "`HOST:PORT` or URL of a collector to send OpenTelemetry traces to, by OTLP over gRPC (default: OTEL_EXPORTER_OTLP_ENDPOINT, else none)")
	s.flags.DurationVar(&n.EvictionPressureTransitionPeriod.Duration, "eviction-pressure-transition-period", n.EvictionPressureTransitionPeriod.Duration,
		"how long the node reports a pressure after it last saw it")
	s.bind("evictionPressureTransitionPeriod", "eviction-pressure-transition-period")
	s.value(sizeValue{&n.ContainerLogMaxSize}, "containerLogMaxSize", "container-log-max-size", "size at which a container's log gets another file, at least 64Ki")
	s.number(&n.ContainerLogMaxFiles, "containerLogMaxFiles", "container-log-max-files", "log files to keep for each run of a container, at least 2")
}

// Images adds the flags of the collection of images.
func (s *Settings) Images() {
	n := s.Node
	s.number(&n.ImageGCHighThresholdPercent, "imageGCHighThresholdPercent", "image-gc-high-threshold", "percentage of the images' disk in use at which vic removes images that no pod has; 100 means never")
	s.number(&n.ImageGCLowThresholdPercent, "imageGCLowThresholdPercent", "image-gc-low-threshold", "percentage of the images' disk in use at which vic stops removing images")
	s.flags.DurationVar(&n.ImageMinimumGCAge.Duration, "minimum-image-ttl-duration", n.ImageMinimumGCAge.Duration, "how long to keep an image after it came")
	s.bind("imageMinimumGCAge", "minimum-image-ttl-duration")
	s.flags.DurationVar(&n.ImageGCPeriod.Duration, "image-gc-period", n.ImageGCPeriod.Duration, "time between two looks at the images' disk")
	s.bind("imageGCPeriod", "image-gc-period")
}

// Registries adds the flags of how registries are reached.
func (s *Settings) Registries() {
	n := s.Node
	s.value(listValue{&n.InsecureRegistries}, "insecureRegistries", "insecure-registry",
		"`HOST:PORT` of a registry that vic may reach over plain HTTP, and with any certificate; repeatable")
	s.value(pairsValue[string]{&n.RegistryMirrors, "HOST=URL", func(text string) (string, error) { return text, nil }},
		"registryMirrors", "registry-mirror", "`HOST=URL` to try before the registry HOST; repeatable")
	s.text(&n.RegistryHostsDir, "registryHostsDir", "registry-hosts-dir",
		"`DIR` with a folder for each registry that needs certificates or mirrors, as containerd's certs.d (docs/registries.md)")
}

// Credentials adds the flags of programs that have credentials for images; names are the kubelet's.
func (s *Settings) Credentials() {
	n := s.Node
	s.text(&n.ImageCredentialProviderConfig, "imageCredentialProviderConfig", "image-credential-provider-config",
		"`FILE` or directory, as a kubelet's, that says which program has credentials for which images (docs/registries.md)")
	s.text(&n.ImageCredentialProviderBinDir, "imageCredentialProviderBinDir", "image-credential-provider-bin-dir", "`DIR` of these programs")
}

// ImageLimits adds the flag of what no image may exceed.
func (s *Settings) ImageLimits() {
	s.value(pairsValue[resource.Quantity]{&s.Node.ImageLimits, "NAME=QUANTITY", resource.ParseQuantity}, "imageLimits", "image-limit",
		"`NAME=QUANTITY` that no image may exceed, such as bytes=16Gi; repeatable. Names: "+
			strings.Join(persona.LimitNames(), ", ")+" (docs/images.md has their defaults)")
}

// VCH adds the flags of the only VCH, which is there, on this machine.
func (s *Settings) VCH() {
	v := s.Node.VCH
	s.text(&v.Name, "name", "node-name", "name of the node")
	s.number(&v.Port, "port", "kubelet-port", "port of the node's kubelet API; 0 takes 10250, or a free one where that is in use")
	for _, amount := range []struct {
		name  corev1.ResourceName
		size  bool
		usage string
	}{
		{corev1.ResourceCPU, false, "processors that the node offers to pods; 0 means the host's"},
		{corev1.ResourceMemory, true, "memory that the node offers to pods, such as 8Gi (default: the host's)"},
		{corev1.ResourceEphemeralStorage, true, "storage that the node offers to pods, such as 100Gi (default: the state directory's disk)"},
		{corev1.ResourcePods, false, "most pods on the node; 0 means 110, the kubelet's default"},
	} {
		s.value(amountValue{&v.Limits, amount.name, amount.size}, "limits."+string(amount.name), string(amount.name), amount.usage)
	}
	s.value(resourcesValue{&v.Reserved}, "reserved", "reserved", "`RESOURCE=QUANTITY,…` to keep from pods: cpu, memory, ephemeral-storage")
}

// KeyOf is the key of a file that a flag fills too, as its path; empty where there is none.
func KeyOf(f *pflag.Flag) string {
	if s, ok := f.Value.(*setting); ok {
		return s.path
	}
	return ""
}
