package certs

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/virtual-kubelet/vic/internal/logging"
)

// approvedReason is the reason of our approvals.
const approvedReason = "VICNodeApprove"

// ApproverConfig says what an Approver approves.
type ApproverConfig struct {
	// Client has the right to approve.
	Client   kubernetes.Interface
	NodeName string
	// Username is who the node is for the API server; system:node:<NodeName> where empty.
	Username string
	// IPs and DNSNames are all that a certificate may be, and must be, for.
	IPs      []net.IP
	DNSNames []string
}

// Approver approves the serving certificates of one node.
type Approver struct{ cfg ApproverConfig }

// NewApprover returns an Approver.
func NewApprover(cfg ApproverConfig) *Approver {
	if cfg.Username == "" {
		cfg.Username = nodeUser(cfg.NodeName)
	}
	return &Approver{cfg: cfg}
}

// Run approves until ctx ends.
func (a *Approver) Run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactoryWithOptions(a.cfg.Client, 0,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("spec.signerName", certificatesv1.KubeletServingSignerName).String()
		}))
	informer := factory.Certificates().V1().CertificateSigningRequests()
	queue := workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[string](50*time.Millisecond, 10*time.Second))
	enqueue := func(obj any) {
		if csr, ok := obj.(*certificatesv1.CertificateSigningRequest); ok && pending(csr) {
			queue.Add(csr.Name)
		}
	}
	if _, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, obj any) { enqueue(obj) },
	}); err != nil {
		return fmt.Errorf("watch certificate requests: %w", err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	stop := context.AfterFunc(ctx, queue.ShutDown)
	defer stop()
	for {
		name, shutdown := queue.Get()
		if shutdown {
			return nil
		}
		csr, err := informer.Lister().Get(name)
		if err == nil {
			err = a.handle(ctx, csr)
		}
		if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
			logging.From(ctx).WarnContext(ctx, "serving certificate not approved", "request", name, "err", err)
			queue.AddRateLimited(name)
		} else {
			queue.Forget(name)
		}
		queue.Done(name)
	}
}

// handle approves csr where it is what the node asks for, and leaves every other to others.
func (a *Approver) handle(ctx context.Context, csr *certificatesv1.CertificateSigningRequest) error {
	if !pending(csr) {
		return nil
	}
	if err := a.check(csr); err != nil {
		logging.From(ctx).DebugContext(ctx, "certificate request left alone", "request", csr.Name, "err", err)
		return nil
	}
	csr = csr.DeepCopy()
	csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type:    certificatesv1.CertificateApproved,
		Status:  corev1.ConditionTrue,
		Reason:  approvedReason,
		Message: "The serving certificate of the node that this program runs.",
	})
	_, err := a.cfg.Client.CertificatesV1().CertificateSigningRequests().
		UpdateApproval(ctx, csr.Name, csr, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("approve certificate request %s: %w", csr.Name, err)
	}
	return nil
}

// check says why csr is not what the node asks for; nil when it is exactly that.
func (a *Approver) check(csr *certificatesv1.CertificateSigningRequest) error {
	switch {
	case csr.Spec.SignerName != certificatesv1.KubeletServingSignerName:
		return fmt.Errorf("signer is %q", csr.Spec.SignerName)
	case csr.Spec.Username != a.cfg.Username:
		return fmt.Errorf("requested by %q", csr.Spec.Username)
	case !servingUsages(csr.Spec.Usages):
		return fmt.Errorf("usages are %v", csr.Spec.Usages)
	}
	request, err := parseRequest(csr.Spec.Request)
	if err != nil {
		return err
	}
	switch {
	case request.Subject.CommonName != nodeUser(a.cfg.NodeName):
		return fmt.Errorf("common name is %q", request.Subject.CommonName)
	case !slices.Equal(request.Subject.Organization, []string{nodeGroup}):
		return fmt.Errorf("organizations are %q", request.Subject.Organization)
	case len(request.EmailAddresses) > 0 || len(request.URIs) > 0:
		return errors.New("it is for e-mail addresses or URIs")
	case !sameSet(request.DNSNames, a.cfg.DNSNames):
		return fmt.Errorf("DNS names are %q", request.DNSNames)
	case !sameSet(texts(request.IPAddresses), texts(a.cfg.IPs)):
		return fmt.Errorf("IP addresses are %v", request.IPAddresses)
	}
	return nil
}

func parseRequest(text []byte) (*x509.CertificateRequest, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
		return nil, errors.New("not one PEM block of a certificate request")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse certificate request: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("check certificate request: %w", err)
	}
	return request, nil
}

// servingUsages are those that the signer allows: server auth and digital signature, and key encipherment for RSA.
func servingUsages(usages []certificatesv1.KeyUsage) bool {
	return slices.Contains(usages, certificatesv1.UsageServerAuth) &&
		!slices.ContainsFunc(usages, func(u certificatesv1.KeyUsage) bool {
			return u != certificatesv1.UsageServerAuth && u != certificatesv1.UsageDigitalSignature &&
				u != certificatesv1.UsageKeyEncipherment
		})
}

// pending reports whether nobody has decided.
func pending(csr *certificatesv1.CertificateSigningRequest) bool {
	return len(csr.Status.Certificate) == 0 &&
		!slices.ContainsFunc(csr.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
			return c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied
		})
}

func texts(ips []net.IP) []string {
	all := make([]string, 0, len(ips))
	for _, ip := range ips {
		all = append(all, ip.String())
	}
	return all
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}
