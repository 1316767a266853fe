package server

import (
	"context"
	"fmt"
	"net"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// readyInterval is short, as a start takes two seconds and all asking stays within this process.
const readyInterval = 25 * time.Millisecond

// check returns nil once something has come about.
type check func(ctx context.Context) error

// notYetError says what is still missing.
type notYetError string

func (e notYetError) Error() string { return string(e) }

// until waits for c, and for the end of a part that c depends on.
func (p *parts) until(ctx context.Context, what string, c check) error {
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	for {
		err := c(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; last: %w", what, context.Cause(ctx), err)
		case <-p.etcd.failed():
			return p.etcd.failure()
		case <-p.apiServer.ends():
			return p.apiServer.ended()
		case <-p.controllers.ends():
			return p.controllers.ended()
		case <-p.scheduler.ends():
			return p.scheduler.ended()
		case <-ticker.C:
		}
	}
}

// apiServerReady includes that the roles that Kubernetes comes with are there.
func apiServerReady(client kubernetes.Interface) check {
	return func(ctx context.Context) error {
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}
}

// firstObjects are those without which no pod can be created or can start.
func firstObjects(client kubernetes.Interface, serviceIP net.IP) check {
	return func(ctx context.Context) error {
		core := client.CoreV1()
		if _, err := core.ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{}); err != nil {
			return err
		}
		if _, err := core.ConfigMaps(metav1.NamespaceDefault).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{}); err != nil {
			return err
		}
		service, err := core.Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !net.ParseIP(service.Spec.ClusterIP).Equal(serviceIP) {
			return notYetError("Service kubernetes has the address " + service.Spec.ClusterIP)
		}
		return nil
	}
}
