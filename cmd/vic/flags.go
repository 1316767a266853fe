package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/persona"
)

func parseResource(s string) (resource.Quantity, error) { return resource.ParseQuantity(s) }

// openExisting names a state directory that must be there.
func openExisting(path string) (*statedir.Dir, error) {
	state, err := statedir.At(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(state.Path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("state directory %s is not there (--dir; `vic up` makes it)", state.Path)
	}
	return state, nil
}

// makeState makes a state directory where there is none, without its lock.
func makeState(path string) (*statedir.Dir, error) {
	state, err := statedir.At(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(state.Path, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	return state, nil
}

// registryFlags say how registries are reached.
type registryFlags struct {
	insecure []string
	mirrors  []string
	hostsDir string
}

func (f *registryFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.insecure, "insecure-registry", nil, "`HOST:PORT` of a registry that may be spoken to over plain HTTP; repeatable (those on loopback always may)")
	cmd.Flags().StringArrayVar(&f.mirrors, "registry-mirror", nil, "`HOST=URL` to try before the registry HOST; repeatable")
	cmd.Flags().StringVar(&f.hostsDir, "registry-hosts-dir", "", "`DIR` with a folder for each registry that needs certificates or mirrors, as containerd's certs.d (docs/registries.md)")
}

func (f *registryFlags) config() (persona.Config, error) {
	for _, host := range f.insecure {
		if err := checkHost(host); err != nil {
			return persona.Config{}, misused("--insecure-registry %q: %w", host, err)
		}
	}
	mirrors := map[string]string{}
	for _, m := range f.mirrors {
		host, mirror, ok := strings.Cut(m, "=")
		u, err := url.Parse(mirror)
		if !ok || err != nil || host == "" || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return persona.Config{}, misused("--registry-mirror %q is not of the form HOST=URL", m)
		}
		mirrors[host] = mirror
	}
	if f.hostsDir != "" {
		if info, err := os.Stat(f.hostsDir); err != nil {
			return persona.Config{}, misused("--registry-hosts-dir: %w", err)
		} else if !info.IsDir() {
			return persona.Config{}, misused("--registry-hosts-dir %s is no directory", f.hostsDir)
		}
	}
	return persona.Config{InsecureRegistries: f.insecure, Mirrors: mirrors, RegistryHostsDir: f.hostsDir}, nil
}

func checkHost(host string) error {
	if strings.Contains(host, "/") {
		return errors.New("want HOST or HOST:PORT, without a scheme or path")
	}
	if strings.Contains(host, ":") {
		if _, _, err := net.SplitHostPort(host); err != nil {
			return err
		}
	}
	return nil
}
