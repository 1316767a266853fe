package persona

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestANameWithoutATagIsNoRepositoryOfADigest(t *testing.T) {
	i := Image{Names: []string{"untagged"}, Digest: "sha256:1"}
	assert.False(t, i.has("untagged@sha256:1"))
}
