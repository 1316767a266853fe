package provider

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Clients are clients of one API server that don't hold each other up.
type Clients struct {
	// Main is for pods, nodes, leases and all that operations needs. It has no limit of its own: Virtual Kubelet's
	// default is 5 requests a second, and the API server has priority and fairness.
	Main kubernetes.Interface
	// Events is for events, which must never delay a status.
	Events kubernetes.Interface
	// Tokens and Access are for reviews of those who call the kubelet's API, and limited: anyone can cause a TokenReview, and
	// whoever is known a SubjectAccessReview.
	Tokens, Access kubernetes.Interface
}

// Limits of the clients that have one, in requests a second and at once.
const (
	eventsQPS, eventsBurst = 200, 400
	reviewQPS, reviewBurst = 50, 100
)

// NewClients returns clients for the API server of cfg, with which vic identifies itself as userAgent.
func NewClients(cfg *rest.Config, userAgent string) (Clients, error) {
	var clients Clients
	for _, c := range []struct {
		to    *kubernetes.Interface
		qps   float32
		burst int
	}{
		{&clients.Main, -1, 0},
		{&clients.Events, eventsQPS, eventsBurst},
		{&clients.Tokens, reviewQPS, reviewBurst},
		{&clients.Access, reviewQPS, reviewBurst},
	} {
		cfg := rest.CopyConfig(cfg)
		cfg.UserAgent = userAgent
		cfg.QPS, cfg.Burst = c.qps, c.burst
		cfg.ContentType = "application/vnd.kubernetes.protobuf"
		cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
		client, err := kubernetes.NewForConfig(cfg)
		if err != nil {
			return Clients{}, fmt.Errorf("make API client: %w", err)
		}
		*c.to = client
	}
	return clients, nil
}

// Check returns who the API server takes us for, and an error where it can't be reached or does not know us.
func (c Clients) Check(ctx context.Context) (username string, err error) {
	review, err := c.Main.AuthenticationV1().SelfSubjectReviews().
		Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("ask API server who we are: %w", err)
	}
	return review.Status.UserInfo.Username, nil
}
