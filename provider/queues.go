package provider

import (
	"context"
	"time"

	"k8s.io/client-go/util/workqueue"
)

const (
	// retryBase is the delay of a first try and of a first retry: not felt by one pod, and long enough to merge the
	// changes of one moment.
	retryBase = 5 * time.Millisecond
	// retryMax bounds the delay of a retry, so that everything is written soon after the API server is back.
	retryMax = 10 * time.Second
	// podWorkers is the number of workers in each of Virtual Kubelet's queues. They wait for the API server, not for VMs.
	podWorkers = 32
)

// newLimiter slows down what fails and nothing else. Virtual Kubelet's own lets 100 pods through and then 10 a second.
func newLimiter() workqueue.TypedRateLimiter[any] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[any](retryBase, retryMax)
}

// retryForever never gives up: a status that could not be written for as long as the API server was away is written
// when it is back. Virtual Kubelet's own forgets it after 20 tries.
func retryForever(context.Context, string, int, time.Time, error) (*time.Duration, error) {
	return nil, nil
}
