package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A document of a file that names this kind is an object of the cluster, as the cluster has it.
const (
	ObjectAPIVersion = "vic.virtual-kubelet.io/v1alpha1"
	ObjectKind       = "VirtualContainerHost"
)

// object is a VirtualContainerHost in a file. What the cluster has added to it is of no interest.
type object struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            VCH               `json:"spec"`
	Status          any               `json:"status"`
}

// Parse reads settings: a YAML document of a Node, and documents of VirtualContainerHosts, which are further VCHs of the list. Each of
// them may be missing. Keys that are not known, or given twice, are refused, as Errors where their paths are known. Defaults are
// set but for those that depend on what else is said (SetDefaults); Check is the caller's.
func Parse(text []byte) (*Node, error) {
	n, settings := DefaultNode(), 0
	var objects []Entry
	documents := yaml.NewDecoder(bytes.NewReader(text))
	p := newProblems("")
	for {
		var value any
		err := documents.Decode(&value)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		switch keys, isMap := value.(map[string]any); {
		case value == nil: // an empty document, such as one of comments
		case !isMap:
			return nil, errors.New("a document is not a map of keys")
		case keys["kind"] != nil || keys["apiVersion"] != nil:
			objects = append(objects, parseObject(p, keys))
		default:
			if settings++; settings > 1 {
				return nil, errors.New("there are two documents with settings")
			}
			decode(p, keys, n)
		}
	}
	if n.VCH != nil {
		n.VCH.path = "vch"
	}
	for i := range n.VCHs {
		n.VCHs[i].path = fmt.Sprintf("vchs[%d]", i)
	}
	n.VCHs = append(n.VCHs, objects...)
	return n, p.all.err()
}

// parseObject makes an entry of an object's document.
func parseObject(p problems, keys map[string]any) Entry {
	var o object
	if keys["apiVersion"] != ObjectAPIVersion || keys["kind"] != ObjectKind {
		p.add("kind", "%v of %v is not %s of %s", keys["kind"], keys["apiVersion"], ObjectKind, ObjectAPIVersion)
		return Entry{}
	}
	name := "?"
	if metadata, ok := keys["metadata"].(map[string]any); ok && metadata["name"] != nil {
		name = fmt.Sprint(metadata["name"])
	}
	at := p.below(ObjectKind + " " + name + ": ")
	decode(at, keys, &o)
	at.need("metadata.name", o.Metadata.Name)
	return Entry{Name: o.Metadata.Name, VCH: o.Spec, path: at.at + "spec"}
}
