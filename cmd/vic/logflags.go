package main

import (
	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
)

// leastLogBytes is several times the longest raw line.
const leastLogBytes = 64 << 10

// logFlags bound what is kept of containers' logs; names and defaults are the kubelet's.
type logFlags struct {
	maxSize  quantityFlag
	maxFiles int
}

func (f *logFlags) add(cmd *cobra.Command) {
	cmd.Flags().Var(&f.maxSize, "container-log-max-size", "size at which a container's log file is followed by another (default: 10Mi)")
	cmd.Flags().IntVar(&f.maxFiles, "container-log-max-files", rundir.DefaultSegments, "files that are kept of each run of a container, at least 2")
}

func (f *logFlags) validate() error {
	if f.maxSize.bytes != 0 && f.maxSize.bytes < leastLogBytes {
		return misused("--container-log-max-size %s is less than 64Ki", &f.maxSize)
	}
	if f.maxFiles < rundir.MinSegments {
		return misused("--container-log-max-files %d is less than %d", f.maxFiles, rundir.MinSegments)
	}
	return nil
}
