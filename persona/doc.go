// Package persona turns an image's name into a disk that a pod VM can boot its container from: it resolves the name, pulls
// or imports the image, flattens its layers into one read-only ext4 disk and keeps that for the next pod.
//
// It knows neither pods nor VMs, and hands out a Source, never a path: what a hypervisor does with a disk is its own matter.
//
// Words:
//   - image: one manifest for one platform. Its digest is the manifest's, its ID the digest of its configuration.
//   - name: what a user types, completed as Docker does it: hello is docker.io/library/hello:latest.
//   - disk: the flattened layers. Images with the same layers share one, so its digest is that of the list of layers and of
//     the flattener's version, and not of its bytes.
//
// Below Config.Dir are index.json (what is known of every image), disks/ (one file a disk, mode 0444), work/ (one folder for each
// conversion in progress) and tried/ (one file for each large image whose conversion has begun and not ended). Several
// processes may share the directory.
//
// Invariants:
//   - No byte of an image is used before the digest that names it has been checked: manifest, configuration, and every layer
//     both as it comes and unpacked.
//   - A file in disks/ is whole. It is written and synced in work/ and gets its name last, and the index mentions it only
//     after that; what a crash leaves in work/ is removed by the next Open.
//   - Nobody gets a disk for naming it: who may have it has fetched all its layers, or pulls from where they came from.
//   - Nothing is unpacked before all of it is here, and what is unpacked at one time in a process is bounded (FlatteningBytes).
//   - A disk is converted by one caller at a time, in whatever process; the others wait for it and then use it.
//
// An example:
//
//	store, err := persona.Open(persona.Config{Dir: dir})
//	...
//	img, err := store.Lookup("hello")
//	if errors.Is(err, persona.ErrNotFound) {
//		img, err = store.Pull(ctx, "hello", persona.PullOptions{})
//	}
//	...
//	disk := store.Source(img)
package persona
