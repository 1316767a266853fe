package persona

import (
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

var (
	imagesDesc = prometheus.NewDesc("vic_image_cache_images", "Images that are kept.", nil, nil)
	bytesDesc  = prometheus.NewDesc("vic_image_cache_bytes", "Space that the disks of images take on this machine.", nil, nil)
)

// Collector returns a prometheus.Collector of what s keeps. It looks when it is asked.
func (s *Store) Collector() prometheus.Collector { return storeCollector{s} }

type storeCollector struct{ store *Store }

// Describe implements prometheus.Collector.
func (storeCollector) Describe(to chan<- *prometheus.Desc) {
	to <- imagesDesc
	to <- bytesDesc
}

// Collect implements prometheus.Collector.
func (c storeCollector) Collect(to chan<- prometheus.Metric) {
	images, err := c.store.List()
	if err != nil {
		to <- prometheus.NewInvalidMetric(imagesDesc, err)
		return
	}
	bytes, err := diskUsage(c.store.disks)
	if err != nil {
		to <- prometheus.NewInvalidMetric(bytesDesc, err)
		return
	}
	to <- prometheus.MustNewConstMetric(imagesDesc, prometheus.GaugeValue, float64(len(images)))
	to <- prometheus.MustNewConstMetric(bytesDesc, prometheus.GaugeValue, float64(bytes))
}

// diskUsage is the space that the files of dir take.
func diskUsage(dir string) (int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, e := range entries {
		if bytes, err := allocated(filepath.Join(dir, e.Name())); err == nil { // else it was removed meanwhile
			sum += bytes
		}
	}
	return sum, nil
}

// allocated is the space that a file takes: disks are sparse.
func allocated(path string) (int64, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return 0, err
	}
	return st.Blocks * 512, nil // stat(2): blocks of 512 bytes, whatever the file system's are
}
