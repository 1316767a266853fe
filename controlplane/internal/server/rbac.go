package server

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rbacapply "k8s.io/client-go/applyconfigurations/rbac/v1"
	"k8s.io/client-go/kubernetes"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/virtual-kubelet/vic/controlplane/internal/pki"
)

// NodeRole is the ClusterRole of our virtual nodes.
const NodeRole = "vic:node"

// fieldManager owns what we apply.
const fieldManager = "vic-controlplane"

// bootstrapNode gives the node what a virtual kubelet needs, and lets the API server call the node. It brings back
// what someone changed.
func bootstrapNode(ctx context.Context, client kubernetes.Interface, nodeName string) error {
	apply := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	role := rbacapply.ClusterRole(NodeRole).WithRules(nodeRules()...)
	if _, err := client.RbacV1().ClusterRoles().Apply(ctx, role, apply); err != nil {
		return fmt.Errorf("apply role %s: %w", NodeRole, err)
	}
	bindings := []*rbacapply.ClusterRoleBindingApplyConfiguration{
		bind(NodeRole+":"+nodeName, NodeRole, pki.NodeUser(nodeName)),
		bind("vic:kubelet-api", "system:kubelet-api-admin", pki.KubeletClientUser),
	}
	for _, b := range bindings {
		if _, err := client.RbacV1().ClusterRoleBindings().Apply(ctx, b, apply); err != nil {
			return fmt.Errorf("apply role binding %s: %w", *b.Name, err)
		}
	}
	return nil
}

func bind(name, role, user string) *rbacapply.ClusterRoleBindingApplyConfiguration {
	return rbacapply.ClusterRoleBinding(name).
		WithRoleRef(rbacapply.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("ClusterRole").WithName(role)).
		WithSubjects(rbacapply.Subject().WithAPIGroup(rbacv1.GroupName).WithKind(rbacv1.UserKind).WithName(user))
}

// nodeRules holds all that a node may do.
func nodeRules() []*rbacapply.PolicyRuleApplyConfiguration {
	read := []string{"get", "list", "watch"}
	return []*rbacapply.PolicyRuleApplyConfiguration{
		rule("", []string{"nodes"}, append([]string{"create", "update", "patch"}, read...)),
		rule("", []string{"nodes/status", "pods/status"}, []string{"get", "update", "patch"}),
		rule("", []string{"pods"}, append([]string{"delete"}, read...)),
		rule("", []string{"configmaps", "secrets", "serviceaccounts", "services"}, read),
		rule("", []string{"namespaces"}, []string{"get"}),
		rule("", []string{"persistentvolumes", "persistentvolumeclaims"}, read),
		rule("", []string{"serviceaccounts/token"}, []string{"create"}),
		rule("", []string{"events"}, []string{"create", "patch", "update"}),
		rule("events.k8s.io", []string{"events"}, []string{"create", "patch", "update"}),
		rule("coordination.k8s.io", []string{"leases"}, []string{"get", "create", "update", "patch"}),
		rule("certificates.k8s.io", []string{"certificatesigningrequests"}, append([]string{"create"}, read...)),
		rule("authentication.k8s.io", []string{"tokenreviews"}, []string{"create"}),
		rule("authorization.k8s.io", []string{"subjectaccessreviews"}, []string{"create"}),
		rule("storage.k8s.io", []string{"volumeattachments", "csinodes"}, read),
		rule("node.k8s.io", []string{"runtimeclasses"}, read),
	}
}

func rule(group string, resources, verbs []string) *rbacapply.PolicyRuleApplyConfiguration {
	return rbacapply.PolicyRule().WithAPIGroups(group).WithResources(resources...).WithVerbs(verbs...)
}
