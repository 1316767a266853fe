package credentialprovider

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAnswersForVeryManyRepositoriesAreNotAllKept(t *testing.T) {
	p := &provider{kept: map[string]kept{}}
	now := time.Now()
	for i := range 2 * maxKept {
		p.keep(fmt.Sprint("reg.example/", i), kept{until: now.Add(time.Duration(i+1) * time.Hour)})
	}
	require.Len(t, p.kept, maxKept)
	assert.NotContains(t, p.kept, "reg.example/0", "it would have ended first")
	assert.Contains(t, p.kept, fmt.Sprint("reg.example/", 2*maxKept-1))
}
