// Package images brings the images of containers to this machine, and removes those that nothing needs any more. It knows
// pods, whose policies, secrets and events it follows as a kubelet does, and no VM beyond the disks that one has.
//
// A [Manager] brings one image in one try: [Manager.Ensure] looks it up, asks the registry where the pull policy or the
// credentials demand it, and shares one pull between all that want the same image with the same credentials. A [Waiter]
// tries that for one container until the image is here. What a pod was given stays until [Manager.Release]. A [Collector]
// removes images while the disk is too full, those first that were used the longest ago.
//
//	m := images.New(images.Config{Store: store, Secrets: secrets, Events: recorder})
//	w := m.NewWaiter(wake)
//	go w.Run(ctx, pod, container)
//	img, waiting := w.State() // nil, and why the container waits, until it is here
package images
