package provider

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/virtual-kubelet/vic/persona"
)

type imageList struct {
	all []persona.Image
	err error
}

func (l imageList) List() ([]persona.Image, error) { return l.all, l.err }

func TestNodeShowsItsLargestImages(t *testing.T) {
	list := imageList{all: []persona.Image{
		{SizeBytes: 1 << 40},
		{Names: []string{"a:1", "a:2", "a:3", "a:4"}, RepoDigests: []string{"a@sha256:1", "a@sha256:2"}, SizeBytes: 100},
	}}
	for i := range int64(60) {
		list.all = append(list.all, persona.Image{Names: []string{fmt.Sprintf("b:%d", i)}, SizeBytes: i})
	}
	r := newReporter(fake.NewClientset(), &vch{})
	r.images = list
	n, _ := r.observe(t.Context())
	images := n.Status.Images
	require.Len(t, images, 50)
	assert.Equal(t, corev1.ContainerImage{Names: []string{"a@sha256:1", "a@sha256:2", "a:1", "a:2", "a:3"}, SizeBytes: 100}, images[0])
	assert.Equal(t, corev1.ContainerImage{Names: []string{"b:59"}, SizeBytes: 59}, images[1])
	assert.Equal(t, int64(11), images[49].SizeBytes)

	r.images = imageList{err: errors.New("broken")}
	n, _ = r.observe(t.Context())
	assert.Empty(t, n.Status.Images)
}
