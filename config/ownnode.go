package config

import (
	"errors"
	"fmt"
)

// ErrForeignNode says that a Node of that name is somebody else's.
var ErrForeignNode = errors.New("there is a node of that name that is not this VCH's")

// CheckOwnNode returns ErrForeignNode unless a Node with these labels is a virtual one of a VCH with that owner, the UID of its
// VirtualContainerHost; it is empty for a VCH of a file.
func CheckOwnNode(labels map[string]string, owner string) error {
	for _, want := range []struct{ key, value string }{{NodeTypeLabel, NodeType}, {OwnerLabel, owner}} {
		if has := labels[want.key]; has != want.value {
			return fmt.Errorf("%w: its label %s is %q", ErrForeignNode, want.key, has)
		}
	}
	return nil
}
