package guest

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/supervisor"
	"github.com/virtual-kubelet/vic/guest/wire"
)

func TestAVMThatIsShutDownEndsItsPodAsItsNodeWould(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &system{supervisor: supervisor.New(supervisor.Config{})}
		p := pod()
		p.Grace, p.Containers = time.Minute, []wire.Seed{{Name: "app", Role: wire.RoleApp}}
		require.NoError(t, s.supervisor.Configure(p, nil))
		s.pod = &p
		began := time.Now()
		s.drain(t.Context())
		assert.Zero(t, time.Since(began), "nothing runs that would need its grace period")
		b, err := s.supervisor.Snapshot(t.Context(), supervisor.Query{})
		require.NoError(t, err)
		var snapshot wire.Snapshot
		require.NoError(t, json.Unmarshal(b, &snapshot))
		assert.Equal(t, wire.PhaseDone, snapshot.Phase)
		assert.Equal(t, "NodeShutdown", snapshot.StopReason, "its containers run again after the next boot")
	})
}
