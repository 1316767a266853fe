package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"
)

// ownLabels say what a node is, beside those that begin with OwnLabels, which say whose.
var ownLabels = []string{NodeTypeLabel, corev1.LabelHostname}

// Check returns what is wrong with an entry of a file, as Errors. It asks nobody.
func (e *Entry) Check() error {
	p := newProblems("")
	e.check(p)
	return p.all.err()
}

func (e *Entry) check(p problems) {
	at := p.below(e.path)
	if e.Name == "" {
		at.add("name", "missing")
	} else if errs := validation.IsDNS1123Subdomain(e.Name); len(errs) > 0 {
		at.add("name", "%q: %s", e.Name, errs[0])
	}
	e.VCH.check(at)
	s := e.VSphere
	if s == nil {
		return
	}
	at = at.below("vsphere")
	if s.CredentialsSecret == "" {
		at.need("user", s.User)
		at.need("passwordFile", s.PasswordFile)
		return
	}
	at.refuse("the Secret of credentialsSecret has it", map[string]string{"user": s.User, "passwordFile": s.PasswordFile, "caFile": s.CAFile})
}

// CheckObject is Check for the entry of a VirtualContainerHost, as OfObject makes it. It also refuses what is for files alone.
func (e *Entry) CheckObject() error {
	p := newProblems("")
	at := p.below(e.path)
	if e.QEMU != nil {
		at.add("qemu", "an object of the cluster can't have pods run on QEMU: their VMs would end with the container of vic. "+
			"A vic node on the host itself serves it, by its file (docs/node.md)")
	}
	e.VCH.check(at)
	if s := e.VSphere; s != nil {
		at := at.below("vsphere")
		at.refuse("only a file can have it", map[string]string{
			"user": s.User, "passwordFile": s.PasswordFile, "caFile": s.CAFile, "guestListen": s.GuestListen,
		})
		at.need("credentialsSecret", s.CredentialsSecret)
	}
	return p.all.err()
}

// refuse says why of those fields that have a value.
func (p problems) refuse(why string, values map[string]string) {
	for _, field := range slices.Sorted(maps.Keys(values)) {
		if values[field] != "" {
			p.add(field, "%s", why)
		}
	}
}

func (v *VCH) check(p problems) {
	if v.NodeName != "" {
		if errs := validation.IsDNS1123Subdomain(v.NodeName); len(errs) > 0 {
			p.add("nodeName", "%q: %s", v.NodeName, errs[0])
		} else if len(v.NodeName) > validation.DNS1123LabelMaxLength {
			p.add("nodeName", "%q is longer than %d characters", v.NodeName, validation.DNS1123LabelMaxLength)
		}
	}
	if v.Address != "" {
		_, err := netip.ParseAddr(v.Address)
		p.addError("address", err)
	}
	if v.Port < 0 || v.Port > 65535 {
		p.add("port", "%d is not a port (0 to 65535)", v.Port)
	}
	v.checkResources(p)
	v.checkLabels(p)
	v.checkTaints(p)
	p.checkDeletionPolicy(v.DeletionPolicy)
	var subnet netip.Prefix
	if v.Subnet != "" {
		var err error
		subnet, err = netip.ParsePrefix(v.Subnet)
		p.addError("subnet", err)
	}
	switch {
	case v.QEMU != nil && v.VSphere != nil:
		p.add("qemu", "of qemu and vsphere only one can be set")
	case v.QEMU == nil && v.VSphere == nil:
		p.add("vsphere", "missing")
	case v.VSphere != nil:
		if v.Subnet == "" {
			p.add("subnet", "missing: it is that of the port group vsphere.network")
		}
		v.VSphere.check(p.below("vsphere"), subnet)
	}
}

// reservable are the resources that may be reserved.
var reservable = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}

func (v *VCH) checkResources(p problems) {
	limitable := append(slices.Clone(reservable), corev1.ResourcePods)
	if v.VSphere != nil {
		limitable = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourcePods}
	}
	at := p.below("limits")
	for _, name := range slices.Sorted(maps.Keys(v.Limits)) {
		q := v.Limits[name]
		switch {
		case !slices.Contains(limitable, name):
			at.add(string(name), "it is not one of %s", list(limitable))
		case q.Sign() <= 0:
			at.add(string(name), "%s is not above zero", q.String())
		case name != corev1.ResourceMemory && name != corev1.ResourceEphemeralStorage && q.MilliValue()%1000 != 0:
			at.add(string(name), "%s is not a whole number", q.String())
		}
	}
	at = p.below("reserved")
	for _, name := range slices.Sorted(maps.Keys(v.Reserved)) {
		q := v.Reserved[name]
		switch {
		case !slices.Contains(reservable, name):
			at.add(string(name), "it is not one of %s", list(reservable))
		case q.Sign() < 0:
			at.add(string(name), "%s is below zero", q.String())
		}
	}
}

func list(names []corev1.ResourceName) string {
	texts := make([]string, 0, len(names))
	for _, name := range names {
		texts = append(texts, string(name))
	}
	return strings.Join(texts, ", ")
}

// CheckCapacity refuses to reserve all that the node has.
func (v *VCH) CheckCapacity(capacity corev1.ResourceList) error {
	p := newProblems("reserved")
	for _, name := range slices.Sorted(maps.Keys(v.Reserved)) {
		reserved, has := v.Reserved[name], capacity[name]
		if reserved.Cmp(has) >= 0 {
			p.add(string(name), "%s leaves nothing of the node's %s", reserved.String(), has.String())
		}
	}
	return p.all.err()
}

func (v *VCH) checkLabels(p problems) {
	for _, key := range slices.Sorted(maps.Keys(v.Labels)) {
		value := v.Labels[key]
		if errs := append(content.IsLabelKey(key), content.IsLabelValue(value)...); len(errs) > 0 {
			p.add("labels", "%s=%s: %s", key, value, errs[0])
		} else if slices.Contains(ownLabels, key) || strings.HasPrefix(key, OwnLabels) {
			p.add("labels", "%s is set by vic", key)
		}
	}
}

func (v *VCH) checkTaints(p problems) {
	if v.Taints == nil {
		return
	}
	for i, t := range *v.Taints {
		at := fmt.Sprintf("taints[%d]", i)
		if errs := append(content.IsLabelKey(t.Key), content.IsLabelValue(t.Value)...); len(errs) > 0 {
			p.add(at, "%s=%s: %s", t.Key, t.Value, errs[0])
		}
		switch t.Effect {
		case corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
		default:
			p.add(at, "effect %q is not one of NoSchedule, PreferNoSchedule, NoExecute", t.Effect)
		}
	}
}

func (p problems) need(field, value string) {
	if value == "" {
		p.add(field, "missing")
	}
}

func (s *VSphere) check(p problems, subnet netip.Prefix) {
	p.need("address", s.Address)
	p.need("bootISO", s.BootISO)
	p.need("network", s.Network)
	trusts := 0
	for _, set := range []bool{s.CAFile != "", s.Thumbprint != "", s.Insecure} {
		if set {
			trusts++
		}
	}
	if trusts > 1 {
		p.add("", "of caFile, thumbprint and insecure only one can be set")
	}
	if s.MHzPerCore < 0 {
		p.add("mhzPerCore", "%d is below zero", s.MHzPerCore)
	}
	if s.MTU < 0 || s.MTU > 65535 {
		p.add("mtu", "%d is not within 0 and 65535", s.MTU)
	}
	if s.Tags != nil {
		p.below("tags").need("category", s.Tags.Category)
	}
	p.checkHostPort("guestListen", s.GuestListen)
	if len(s.AdvertiseAddresses) == 0 {
		p.add("advertiseAddresses", "missing: guests dial them")
	}
	for _, a := range s.AdvertiseAddresses {
		if host, _, err := net.SplitHostPort(a); err != nil || host == "" {
			p.add("advertiseAddresses", "%q is not a HOST:PORT", a)
		}
	}
	s.checkAddresses(p, subnet)
}

// checkAddresses checks the pods' addresses. subnet may be invalid, which is said elsewhere.
func (s *VSphere) checkAddresses(p problems, subnet netip.Prefix) {
	parse := func(field, value string) netip.Addr {
		if value == "" {
			return netip.Addr{}
		}
		a, err := netip.ParseAddr(value)
		p.addError(field, err)
		if err == nil && subnet.IsValid() && !subnet.Contains(a) {
			p.add(field, "%s is outside the subnet %s", a, subnet)
		}
		return a
	}
	parse("gateway", s.Gateway)
	first, last := parse("firstAddress", s.FirstAddress), parse("lastAddress", s.LastAddress)
	if first.IsValid() && last.IsValid() && last.Less(first) {
		p.add("lastAddress", "%s leaves no room for a pod: it is before firstAddress, %s", last, first)
	}
}
