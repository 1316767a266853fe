// Package kubeletapi serves the part of the kubelet's HTTPS API that a virtual node has: logs, exec, attach,
// port-forward and run for the API server; pods, health, metrics and configuration for clients that may see them.
//
// Every request is authenticated, by client certificate or by bearer token (TokenReview), and authorized by a
// SubjectAccessReview for the node and one of its subresources, as the kubelet does. Nobody is anonymous. Streams are
// always the verb create, also where a websocket begins with GET: the right to read metrics is not a right to run commands.
//
//	auth, err := kubeletapi.NewAuth(kubeletapi.AuthConfig{…})
//	server := kubeletapi.New(kubeletapi.Config{Containers: manager, Auth: auth, …})
//	err = server.Serve(ctx, listener)
package kubeletapi
