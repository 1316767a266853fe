package plan

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// identity is what the security contexts of a pod and a container say together; the container's word is the stronger.
type identity struct {
	user, group *int64
	nonRoot     bool
}

func identityOf(pod *corev1.Pod, c *corev1.Container) identity {
	var id identity
	if s := pod.Spec.SecurityContext; s != nil {
		id = identity{s.RunAsUser, s.RunAsGroup, isTrue(s.RunAsNonRoot)}
	}
	if s := c.SecurityContext; s != nil {
		if s.RunAsUser != nil {
			id.user = s.RunAsUser
		}
		if s.RunAsGroup != nil {
			id.group = s.RunAsGroup
		}
		if s.RunAsNonRoot != nil {
			id.nonRoot = *s.RunAsNonRoot
		}
	}
	return id
}

// user is "user[:group]" of c. A group of the pod's joins the image's user, and a user of the pod's replaces both.
func user(pod *corev1.Pod, c *corev1.Container, image string) (string, error) {
	id := identityOf(pod, c)
	if id.nonRoot {
		if err := verifyNonRoot(id, image); err != nil {
			return "", err
		}
	}
	result := image
	if id.user != nil {
		result = strconv.FormatInt(*id.user, 10)
	}
	if id.group != nil {
		name, _, _ := strings.Cut(result, ":")
		if name == "" {
			name = "0"
		}
		result = name + ":" + strconv.FormatInt(*id.group, 10)
	}
	return result, nil
}

// verifyNonRoot refuses root, and a user of whom it can't be said before the container runs.
func verifyNonRoot(id identity, image string) error {
	if id.user != nil {
		if *id.user == 0 {
			return configError("container's runAsUser breaks non-root policy")
		}
		return nil
	}
	name, _, _ := strings.Cut(image, ":")
	if name == "" {
		return configError("container has runAsNonRoot and image will run as root")
	}
	uid, err := strconv.ParseInt(name, 10, 64)
	switch {
	case err != nil:
		return configError("container has runAsNonRoot and image has non-numeric user (%s), cannot verify user is non-root", name)
	case uid == 0:
		return configError("container has runAsNonRoot and image will run as root")
	}
	return nil
}
