package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"

	"go.yaml.in/yaml/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/controllers"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
	"github.com/virtual-kubelet/vic/provider"
)

// nodeFile is the configuration of `vic node`; docs/node.md shows every key. It has one node in it, or a list of them, or
// says that the cluster has the list.
type nodeFile struct {
	vchFile
	processFile
	fleetFile
}

// vchFile is one VCH with its node.
type vchFile struct {
	NodeName         string                       `json:"nodeName"`
	Address          string                       `json:"address"`
	Port             int                          `json:"port"`
	CPU              int64                        `json:"cpu"`
	Memory           string                       `json:"memory"`
	EphemeralStorage string                       `json:"ephemeralStorage"`
	Pods             int64                        `json:"pods"`
	Subnet           string                       `json:"subnet"`
	Taint            *bool                        `json:"taint"`
	Taints           *[]corev1.Taint              `json:"taints"`
	Labels           map[string]string            `json:"labels"`
	Reserved         map[string]resource.Quantity `json:"reserved"`
	// VSphere has pods run there, and not on this machine's QEMU.
	VSphere *vsphereFile `json:"vsphere"`

	// owner is the UID of the object of the cluster that this was made of.
	owner string
}

// processFile is what holds for all nodes of a process.
type processFile struct {
	Dir                string            `json:"dir"`
	GuestImage         string            `json:"guestImage"`
	Accel              string            `json:"accel"`
	ClusterDNS         []string          `json:"clusterDNS"`
	ClusterDomain      string            `json:"clusterDomain"`
	InsecureRegistries []string          `json:"insecureRegistries"`
	RegistryMirrors    map[string]string `json:"registryMirrors"`
	// AllowContainer runs the node where its pod VMs end with a container.
	AllowContainer bool `json:"allowContainer"`

	EvictionPressureTransitionPeriod metav1.Duration `json:"evictionPressureTransitionPeriod"`

	ContainerLogMaxSize  string `json:"containerLogMaxSize"`
	ContainerLogMaxFiles int    `json:"containerLogMaxFiles"`

	ImageGCHighThresholdPercent int             `json:"imageGCHighThresholdPercent"`
	ImageGCLowThresholdPercent  int             `json:"imageGCLowThresholdPercent"`
	ImageMinimumGCAge           metav1.Duration `json:"imageMinimumGCAge"`
	ImageGCPeriod               metav1.Duration `json:"imageGCPeriod"`
	RegistryHostsDir            string          `json:"registryHostsDir"`

	ImageCredentialProviderConfig string `json:"imageCredentialProviderConfig"`
	ImageCredentialProviderBinDir string `json:"imageCredentialProviderBinDir"`

	TracingEndpoint string `json:"tracingEndpoint"`

	ImageLimits map[string]resource.Quantity `json:"imageLimits"`
}

// readNodeFile reads, completes and checks a configuration; a key that it does not know is refused.
func readNodeFile(path string) (*nodeFile, error) {
	return completeNodeFile(path, func(*vsphereFile) {})
}

// completeNodeFile is readNodeFile, and has complete add to what the file says of vSphere before that is checked.
func completeNodeFile(path string, complete func(*vsphereFile)) (*nodeFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	f := &nodeFile{
		vchFile: vchFile{Port: kubeletPort},
		processFile: processFile{
			Dir: "/var/lib/vic", Accel: "auto", ClusterDomain: clusterDomain, ContainerLogMaxFiles: rundir.DefaultSegments,
			ImageGCHighThresholdPercent: imageGCHigh, ImageGCLowThresholdPercent: imageGCLow,
			EvictionPressureTransitionPeriod: metav1.Duration{Duration: provider.DefaultPressureTransition},

			ImageMinimumGCAge: metav1.Duration{Duration: imageGCMinAge}, ImageGCPeriod: metav1.Duration{Duration: imageGCPeriod},
		},
	}
	if err := unmarshalYAML(text, f); err != nil {
		return nil, misused("--config %s: %w", path, err)
	}
	for _, n := range f.vchs() {
		if n.VSphere != nil {
			complete(n.VSphere)
		}
	}
	if err := f.check(); err != nil {
		return nil, misused("--config %s: %w", path, err)
	}
	return f, nil
}

// unmarshalYAML refuses keys that are not known or given twice. sigs.k8s.io/yaml would do, but takes the name n for a boolean
// in structs that are made of others.
func unmarshalYAML(text []byte, to any) error {
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		return err
	}
	asJSON, err := json.Marshal(value)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(asJSON))
	d.DisallowUnknownFields()
	return d.Decode(to)
}

func (f *nodeFile) check() error {
	for _, server := range f.ClusterDNS {
		if _, err := netip.ParseAddr(server); err != nil {
			return fmt.Errorf("clusterDNS: %w", err)
		}
	}
	if _, err := f.images(); err != nil {
		return err
	}
	if f.isFleet() {
		return f.checkFleet()
	}
	if f.Port == 0 {
		return errors.New("port 0 is no port (1 to 65535)")
	}
	return f.checkVCH(&f.vchFile)
}

// checkVCH refuses what can be seen to be wrong with a VCH without asking anybody.
func (f *nodeFile) checkVCH(n *vchFile) error {
	if n.NodeName == "" {
		return errors.New("nodeName is missing")
	}
	flags, err := f.flags(n)
	if err != nil {
		return err
	}
	if err := n.check(f.GuestListen != ""); err != nil {
		return err
	}
	return flags.validate()
}

// check refuses what is wrong with a VCH by itself. guests tells that the process has a place where guests dial in.
func (n *vchFile) check(guests bool) error {
	subnet, err := n.subnet()
	if err != nil {
		return err
	}
	if n.VSphere != nil {
		if err := n.VSphere.check(subnet, guests); err != nil {
			return err
		}
	}
	if n.Address != "" {
		if _, err := netip.ParseAddr(n.Address); err != nil {
			return fmt.Errorf("address: %w", err)
		}
	}
	if n.Port < 0 || n.Port > 65535 {
		return fmt.Errorf("port %d is no port (1 to 65535)", n.Port)
	}
	for key, value := range n.Labels {
		if errs := append(content.IsLabelKey(key), content.IsLabelValue(value)...); len(errs) > 0 {
			return fmt.Errorf("labels: %s=%s: %s", key, value, errs[0])
		}
		if slices.Contains(ownLabels, key) {
			return fmt.Errorf("labels: %s is set by vic", key)
		}
	}
	return n.checkTaints()
}

// ownLabels tell whose a node is, and what.
var ownLabels = []string{controllers.NodeTypeLabel, controllers.OwnerLabel, corev1.LabelHostname}

// labels are those of the node.
func (n *vchFile) labels() map[string]string {
	if n.owner == "" {
		return n.Labels
	}
	all := map[string]string{controllers.OwnerLabel: n.owner}
	maps.Copy(all, n.Labels)
	return all
}

func (n *vchFile) checkTaints() error {
	if n.Taints == nil {
		return nil
	}
	if n.Taint != nil {
		return errors.New("of taint and taints only one can be set")
	}
	for _, t := range *n.Taints {
		if errs := append(content.IsLabelKey(t.Key), content.IsLabelValue(t.Value)...); len(errs) > 0 {
			return fmt.Errorf("taints: %s=%s: %s", t.Key, t.Value, errs[0])
		}
		switch t.Effect {
		case corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
		default:
			return fmt.Errorf("taints: %s: effect %q is none of NoSchedule, PreferNoSchedule, NoExecute", t.Key, t.Effect)
		}
	}
	return nil
}

// flags are those of a node that vic up has too.
func (f *nodeFile) flags(n *vchFile) (nodeFlags, error) {
	flags := nodeFlags{name: n.NodeName, accel: f.Accel, guestImage: f.GuestImage, tracing: f.TracingEndpoint}
	flags.logs.maxFiles = f.ContainerLogMaxFiles
	flags.credentials = credentialFlags{f.ImageCredentialProviderConfig, f.ImageCredentialProviderBinDir}
	flags.imageGC = imageGCFlags{
		high: f.ImageGCHighThresholdPercent, low: f.ImageGCLowThresholdPercent,
		minAge: f.ImageMinimumGCAge.Duration, period: f.ImageGCPeriod.Duration,
	}
	var err error
	if flags.capacity, err = n.capacity(f.EvictionPressureTransitionPeriod.Duration); err != nil {
		return nodeFlags{}, err
	}
	if f.ContainerLogMaxSize != "" {
		if err := flags.logs.maxSize.Set(f.ContainerLogMaxSize); err != nil {
			return nodeFlags{}, fmt.Errorf("containerLogMaxSize: %w", err)
		}
	}
	return flags, nil
}

// subnet is the zero prefix where none is configured.
func (n *vchFile) subnet() (netip.Prefix, error) {
	if n.Subnet == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(n.Subnet)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("subnet: %w", err)
	}
	return p, nil
}

func (f *processFile) registries() registryFlags {
	r := registryFlags{insecure: f.InsecureRegistries, hostsDir: f.RegistryHostsDir}
	for host, mirror := range f.RegistryMirrors {
		r.mirrors = append(r.mirrors, host+"="+mirror)
	}
	return r
}

func (f *processFile) limits() (persona.Limits, error) {
	var limits persona.Limits
	for name, q := range f.ImageLimits {
		if err := setImageLimit(&limits, name, q); err != nil {
			return persona.Limits{}, fmt.Errorf("imageLimits: %s: %w", name, err)
		}
	}
	return limits, nil
}

// images is the configuration of the image store, but for its directory.
func (f *processFile) images() (persona.Config, error) {
	registries := f.registries()
	config, err := registries.config()
	if err != nil {
		return persona.Config{}, err
	}
	config.Limits, err = f.limits()
	return config, err
}

func (n *vchFile) taints() []corev1.Taint {
	switch {
	case n.Taints != nil:
		return *n.Taints
	case n.Taint != nil && !*n.Taint:
		return nil
	}
	return []corev1.Taint{provider.DefaultTaint()}
}
