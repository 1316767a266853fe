package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/virtual-kubelet/vic/operations/images"
)

// Defaults of the kubelet.
const (
	imageGCHigh   = 85
	imageGCLow    = 80
	imageGCMinAge = 2 * time.Minute
	imageGCPeriod = 5 * time.Minute
)

// imageGCFlags say when images are removed; names and defaults are the kubelet's, but for the period, which it fixes.
type imageGCFlags struct {
	high, low      int
	minAge, period time.Duration
}

func defaultImageGC() imageGCFlags {
	return imageGCFlags{high: imageGCHigh, low: imageGCLow, minAge: imageGCMinAge, period: imageGCPeriod}
}

func (f *imageGCFlags) add(cmd *cobra.Command) {
	*f = defaultImageGC()
	cmd.Flags().IntVar(&f.high, "image-gc-high-threshold", f.high, "percentage of the images' disk in use at which images that no pod has are removed; 100 is never")
	cmd.Flags().IntVar(&f.low, "image-gc-low-threshold", f.low, "percentage in use down to which they are removed")
	cmd.Flags().DurationVar(&f.minAge, "minimum-image-ttl-duration", f.minAge, "how long an image is kept after it came")
	cmd.Flags().DurationVar(&f.period, "image-gc-period", f.period, "time between two looks at the images' disk")
}

func (f *imageGCFlags) validate() error {
	switch {
	case f.high < 0 || f.high > 100:
		return misused("--image-gc-high-threshold %d is not within 0 and 100", f.high)
	case f.low < 0 || f.low > 100:
		return misused("--image-gc-low-threshold %d is not within 0 and 100", f.low)
	case f.low >= f.high:
		return misused("--image-gc-low-threshold %d is not below --image-gc-high-threshold %d", f.low, f.high)
	case f.minAge < 0:
		return misused("--minimum-image-ttl-duration %v is below zero", f.minAge)
	case f.period < time.Second:
		return misused("--image-gc-period %v is below 1s", f.period)
	}
	return nil
}

// collection has images collected from store, and disks that were made of them from host.
func (f *imageGCFlags) collection(store images.CollectedStore, host images.CollectedHost) *images.GC {
	return &images.GC{
		Store: store, Host: host, HighPercent: f.high, LowPercent: f.low, MinAge: f.minAge, Period: f.period,
	}
}
