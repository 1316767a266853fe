package provider

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// namespacePoll is how often a new API server is asked for the namespaces that it makes itself.
const namespacePoll = 200 * time.Millisecond

// ClusterUID returns the UID of the namespace kube-system, which is what tells one cluster from another: every cluster has
// it from its beginning to its end. A new API server makes it soon after it is ready; it is waited for until ctx ends.
func (c Clients) ClusterUID(ctx context.Context) (uid string, err error) {
	err = wait.PollUntilContextCancel(ctx, namespacePoll, true, func(ctx context.Context) (bool, error) {
		namespace, err := c.Main.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		uid = string(namespace.UID)
		return true, nil
	})
	switch {
	case apierrors.IsForbidden(err):
		return "", fmt.Errorf("read the UID of namespace %s, which says what cluster this is (docs/node.md has the rule that allows it): %w",
			metav1.NamespaceSystem, err)
	case err != nil:
		return "", fmt.Errorf("read the UID of namespace %s: %w", metav1.NamespaceSystem, err)
	case uid == "":
		return "", fmt.Errorf("namespace %s has no UID", metav1.NamespaceSystem)
	}
	return uid, nil
}
