package vcenter

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func TestSummedHardware(t *testing.T) {
	whole := types.ComputeResourceSummary{
		TotalCpu: 20000, NumCpuCores: 8, EffectiveCpu: 18000, TotalMemory: 64 << 30, EffectiveMemory: 60 << 10,
	}
	want := Hardware{MHz: 18000, MHzPerCore: 2500, MemoryBytes: 60 << 30}
	assert.Equal(t, want, summedHardware(whole), "as vCenter says it, in MB")
	inBytes := whole
	inBytes.EffectiveMemory = 60 << 30
	assert.Equal(t, want, summedHardware(inBytes), "as the simulator says it")
	none := whole
	none.EffectiveCpu, none.EffectiveMemory = 0, 0
	assert.Equal(t, Hardware{MHzPerCore: 2500}, summedHardware(none), "all hosts are away")
	assert.Zero(t, summedHardware(types.ComputeResourceSummary{}))
}

func TestWhatMayNotBeReadIsUnreadable(t *testing.T) {
	assert.True(t, unreadable(soap.WrapVimFault(&types.NoPermission{})), "as a missing property shows it")
	assert.True(t, unreadable(errNoHosts))
	assert.False(t, unreadable(soap.WrapVimFault(&types.NotAuthenticated{})))
}
