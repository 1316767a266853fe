package node

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/controllers"
)

// VCH is a virtual container host to serve as a node: its settings, with defaults, and what comes from the cluster.
type VCH struct {
	config.Entry
	// Owner is the UID of the VirtualContainerHost that it was made of; empty for one of a file.
	Owner types.UID
	// Credentials are those of its vCenter where a Secret has them, else nil.
	Credentials *controllers.Credentials
}

// ofObject makes a VCH of an object, with defaults.
func ofObject(o *v1alpha1.VirtualContainerHost, credentials controllers.Credentials) *VCH {
	return &VCH{Entry: config.OfObject(o.Name, &o.Spec), Owner: o.UID, Credentials: &credentials}
}

// revision changes when the node must be opened anew. A new password is read at the next login.
func (v *VCH) revision() (string, error) {
	parts := []any{v.Entry, v.Owner}
	if c := v.Credentials; c != nil {
		parts = append(parts, c.Username, c.CA)
	}
	text, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("VCH %s: %w", v.Name, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// labels are those of the node, beside its network's. Whose it is comes last: nothing may override it.
func (v *VCH) labels() map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, v.Labels)
	delete(labels, config.OwnerLabel)
	if v.Owner != "" {
		labels[config.OwnerLabel] = string(v.Owner)
	}
	return labels
}
