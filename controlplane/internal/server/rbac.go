package server

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	rbacapply "k8s.io/client-go/applyconfigurations/rbac/v1"
	"k8s.io/client-go/kubernetes"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/virtual-kubelet/vic/controlplane/internal/pki"
)

const (
	// fieldManager owns what we apply.
	fieldManager = "vic-controlplane"
	// formerNodeRole gave nodes more than the node authorizer does, which takes its place.
	formerNodeRole = "vic:node"
	// clusterReader is the role to read which cluster this is.
	clusterReader = "vic:cluster"
	// authenticationReader is the role, which Kubernetes comes with, to read who signs client certificates.
	authenticationReader = "extension-apiserver-authentication-reader"
)

// bootstrapNode gives the node what it needs beside what the node authorizer does, and lets the API server call the node. It
// brings back what someone changed.
func bootstrapNode(ctx context.Context, client kubernetes.Interface, nodeName string) error {
	if err := removeFormerRole(ctx, client, nodeName); err != nil {
		return err
	}
	apply := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	reads := rbacapply.RoleBinding("vic:node:"+nodeName, metav1.NamespaceSystem).
		WithRoleRef(roleRef("Role", authenticationReader)).WithSubjects(user(pki.NodeUser(nodeName)))
	if _, err := client.RbacV1().RoleBindings(metav1.NamespaceSystem).Apply(ctx, reads, apply); err != nil {
		return fmt.Errorf("apply role binding %s: %w", *reads.Name, err)
	}
	if err := letReadCluster(ctx, client, nodeName); err != nil {
		return err
	}
	calls := rbacapply.ClusterRoleBinding("vic:kubelet-api").
		WithRoleRef(roleRef("ClusterRole", "system:kubelet-api-admin")).WithSubjects(user(pki.KubeletClientUser))
	if _, err := client.RbacV1().ClusterRoleBindings().Apply(ctx, calls, apply); err != nil {
		return fmt.Errorf("apply role binding %s: %w", *calls.Name, err)
	}
	return nil
}

// letReadCluster lets the node read the UID of kube-system, which says what cluster this is.
func letReadCluster(ctx context.Context, client kubernetes.Interface, nodeName string) error {
	apply := metav1.ApplyOptions{FieldManager: fieldManager, Force: true}
	rbac := client.RbacV1()
	role := rbacapply.Role(clusterReader, metav1.NamespaceSystem).WithRules(rbacapply.PolicyRule().
		WithAPIGroups("").WithResources("namespaces").WithResourceNames(metav1.NamespaceSystem).WithVerbs("get"))
	if _, err := rbac.Roles(metav1.NamespaceSystem).Apply(ctx, role, apply); err != nil {
		return fmt.Errorf("apply role %s: %w", *role.Name, err)
	}
	binding := rbacapply.RoleBinding(clusterReader+":"+nodeName, metav1.NamespaceSystem).
		WithRoleRef(roleRef("Role", clusterReader)).WithSubjects(user(pki.NodeUser(nodeName)))
	if _, err := rbac.RoleBindings(metav1.NamespaceSystem).Apply(ctx, binding, apply); err != nil {
		return fmt.Errorf("apply role binding %s: %w", *binding.Name, err)
	}
	return nil
}

// removeFormerRole takes away what a former version has given the node. The role itself stays: others may be bound to it.
func removeFormerRole(ctx context.Context, client kubernetes.Interface, nodeName string) error {
	binding := formerNodeRole + ":" + nodeName
	err := client.RbacV1().ClusterRoleBindings().Delete(ctx, binding, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove role binding %s: %w", binding, err)
	}
	return nil
}

func roleRef(kind, name string) *rbacapply.RoleRefApplyConfiguration {
	return rbacapply.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind(kind).WithName(name)
}

func user(name string) *rbacapply.SubjectApplyConfiguration {
	return rbacapply.Subject().WithAPIGroup(rbacv1.GroupName).WithKind(rbacv1.UserKind).WithName(name)
}
