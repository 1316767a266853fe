package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validate/content"
)

// The accelerators of QEMU.
const (
	AccelAuto = "auto"
	AccelKVM  = "kvm"
	AccelTCG  = "tcg"
)

var (
	// leastLogSize is several times the longest raw line of a log.
	leastLogSize = resource.MustParse("64Ki")
	// leastLogFiles are the file that is written and the one before.
	leastLogFiles int32 = 2
)

// Check returns what is wrong with n and its VCHs, all of it, as Errors. It asks nobody.
func (n *Node) Check() error {
	p := newProblems("")
	n.checkProcess(p)
	n.checkServed(p)
	for _, e := range n.Entries() {
		e.check(p)
		n.checkNeeds(p.below(e.path), e)
	}
	n.checkClaims(p)
	return p.all.err()
}

// CheckProcess returns what is wrong with those settings of n that do not depend on what it serves.
func (n *Node) CheckProcess() error {
	p := newProblems("")
	n.checkProcess(p)
	return p.all.err()
}

func (n *Node) checkProcess(p problems) {
	if n.Dir == "" {
		p.add("dir", "missing")
	}
	if !slices.Contains([]string{AccelAuto, AccelKVM, AccelTCG}, n.Accelerator) {
		p.add("accel", "%q is not one of auto, kvm, tcg", n.Accelerator)
	}
	for i, server := range n.ClusterDNS {
		_, err := netip.ParseAddr(server)
		p.addError(fmt.Sprintf("clusterDNS[%d]", i), err)
	}
	if d := n.EvictionPressureTransitionPeriod.Duration; d < 0 {
		p.add("evictionPressureTransitionPeriod", "%v is below zero", d)
	}
	n.checkLogs(p)
	n.checkRegistries(p)
	n.checkImages(p)
}

func (n *Node) checkLogs(p problems) {
	if n.ContainerLogMaxSize.Cmp(leastLogSize) < 0 {
		p.add("containerLogMaxSize", "%s is less than %s", n.ContainerLogMaxSize.String(), leastLogSize.String())
	}
	if n.ContainerLogMaxFiles < leastLogFiles {
		p.add("containerLogMaxFiles", "%d is less than %d", n.ContainerLogMaxFiles, leastLogFiles)
	}
}

func (n *Node) checkRegistries(p problems) {
	for _, host := range n.InsecureRegistries {
		if err := checkRegistry(host); err != nil {
			p.add("insecureRegistries", "%q: %v", host, err)
		}
	}
	for _, host := range slices.Sorted(maps.Keys(n.RegistryMirrors)) {
		mirror := n.RegistryMirrors[host]
		u, err := url.Parse(mirror)
		if err != nil || host == "" || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			p.add("registryMirrors", "%q is not of the form HOST=URL", host+"="+mirror)
		}
	}
	switch hasConfig, hasDir := n.ImageCredentialProviderConfig != "", n.ImageCredentialProviderBinDir != ""; {
	case hasConfig && !hasDir:
		p.add("imageCredentialProviderBinDir", "missing: imageCredentialProviderConfig is set")
	case hasDir && !hasConfig:
		p.add("imageCredentialProviderConfig", "missing: imageCredentialProviderBinDir is set")
	}
}

func checkRegistry(host string) error {
	if strings.Contains(host, "/") {
		return errors.New("want HOST or HOST:PORT, without a scheme or path")
	}
	if strings.Contains(host, ":") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) checkImages(p problems) {
	for _, name := range slices.Sorted(maps.Keys(n.ImageLimits)) {
		q := n.ImageLimits[name]
		if bytes, whole := q.AsInt64(); !whole || bytes < 1 {
			p.add("imageLimits."+name, "%s is not a whole number above zero", q.String())
		}
	}
	high, low := n.ImageGCHighThresholdPercent, n.ImageGCLowThresholdPercent
	switch {
	case high < 0 || high > 100:
		p.add("imageGCHighThresholdPercent", "%d is not within 0 and 100", high)
	case low < 0 || low > 100:
		p.add("imageGCLowThresholdPercent", "%d is not within 0 and 100", low)
	case low >= high:
		p.add("imageGCLowThresholdPercent", "%d is not below the high threshold, %d", low, high)
	}
	if d := n.ImageMinimumGCAge.Duration; d < 0 {
		p.add("imageMinimumGCAge", "%v is below zero", d)
	}
	if d := n.ImageGCPeriod.Duration; d < time.Second {
		p.add("imageGCPeriod", "%v is below 1s", d)
	}
}

// checkServed checks what the process serves, and what it needs for that.
func (n *Node) checkServed(p problems) {
	var ways []string
	for _, way := range []struct {
		key string
		set bool
	}{{"vch", n.VCH != nil}, {"vchs", len(n.VCHs) > 0}, {"controller", n.Controller}} {
		if way.set {
			ways = append(ways, way.key)
		}
	}
	switch {
	case len(ways) == 0:
		p.add("vch", "missing: one of vch, vchs, controller and VirtualContainerHost documents says what is served")
	case len(ways) > 1:
		p.add(ways[1], "of vch, vchs (with VirtualContainerHost documents) and controller only one can be set; %s is", ways[0])
	}
	if n.Controller && n.GuestListen == "" {
		p.add("guestListen", "missing: the guests of the cluster's VCHs dial in there")
	}
	p.checkHostPort("guestListen", n.GuestListen)
	p.checkHostPort("healthListen", n.HealthListen)
	if n.Namespace != "" || n.Controller || n.LeaderElection != nil {
		p.checkLabel("namespace", n.Namespace)
	}
	if n.LeaderElection != nil {
		p.checkLabel("leaderElection.name", n.LeaderElection.Name)
		if n.VCH != nil {
			p.add("leaderElection", "it needs vchs or controller")
		}
	}
	p.checkDeletionPolicy(n.DeletionPolicy)
}

// checkNeeds checks that the process has what an entry needs of it.
func (n *Node) checkNeeds(p problems, e *Entry) {
	if e.VSphere == nil {
		return
	}
	if e.VSphere.GuestListen == "" && n.GuestListen == "" {
		p.add("vsphere.guestListen", "missing: guests dial in there, or at guestListen of the process")
	}
	if e.VSphere.CredentialsSecret != "" && n.Namespace == "" {
		p.add("vsphere.credentialsSecret", "namespace of the process is missing, which has the Secret")
	}
}

func (p problems) checkHostPort(field, value string) {
	if _, _, err := net.SplitHostPort(value); value != "" && err != nil {
		p.add(field, "%v", err)
	}
}

func (p problems) checkLabel(field, value string) {
	if value == "" {
		p.add(field, "missing")
		return
	}
	if errs := content.IsDNS1123Label(value); len(errs) > 0 {
		p.add(field, "%q: %s", value, errs[0])
	}
}

func (p problems) checkDeletionPolicy(policy DeletionPolicy) {
	if !slices.Contains([]DeletionPolicy{"", DeletionRefuse, DeletionDrain, DeletionOrphan}, policy) {
		p.add("deletionPolicy", "%q is not one of Refuse, Drain, Orphan", policy)
	}
}

// checkClaims refuses two VCHs that want the same.
func (n *Node) checkClaims(p problems) {
	owners := map[string]string{}
	for _, e := range n.Entries() {
		at := p.below(e.path)
		if owner, taken := owners["name "+e.Name]; taken {
			at.add("", "name %s is there twice: %s", e.Name, owner)
			continue
		}
		owners["name "+e.Name] = e.path
		for _, claim := range e.Claims() {
			if owner, taken := owners[claim]; taken {
				at.add("", "%s is that of %s", claim, owner)
				continue
			}
			owners[claim] = e.Name
		}
	}
}
