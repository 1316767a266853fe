package credentialprovider

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	kubeletconfigv1 "k8s.io/kubelet/config/v1"
	credentialproviderv1 "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
	"sigs.k8s.io/yaml"

	"github.com/virtual-kubelet/vic/persona/keyring"
)

// Open reads a configuration, which is a file, or a directory of files that end in .yaml, .yml or .json. The programs are in
// binDir, by their providers' names.
func Open(configPath, binDir string) (*Providers, error) {
	files, err := configFiles(configPath)
	if err != nil {
		return nil, err
	}
	all := &Providers{}
	for _, file := range files {
		if err := all.addFile(file, binDir); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return all, nil
}

// configFiles returns the files of a configuration, in order.
func configFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s has no file that ends in .yaml, .yml or .json", path)
	}
	return files, nil
}

func (p *Providers) addFile(file, binDir string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var config kubeletconfigv1.CredentialProviderConfig
	if err := yaml.UnmarshalStrict(text, &config); err != nil {
		return err
	}
	if want := kubeletconfigv1.SchemeGroupVersion.String(); config.APIVersion != want || config.Kind != "CredentialProviderConfig" {
		return fmt.Errorf("it is %s %s, not %s CredentialProviderConfig", config.APIVersion, config.Kind, want)
	}
	if len(config.Providers) == 0 {
		return errors.New("providers is empty")
	}
	for i := range config.Providers {
		one := &config.Providers[i]
		if err := p.add(one, binDir); err != nil {
			return fmt.Errorf("providers[%d] %q: %w", i, one.Name, err)
		}
	}
	return nil
}

func (p *Providers) add(config *kubeletconfigv1.CredentialProvider, binDir string) error {
	if err := validate(config); err != nil {
		return err
	}
	if slices.ContainsFunc(p.all, func(o *provider) bool { return o.config.Name == config.Name }) {
		return errors.New("there is another of that name")
	}
	program, err := exec.LookPath(filepath.Join(binDir, config.Name))
	if err != nil {
		return err
	}
	p.all = append(p.all, &provider{config: config, program: program, kept: map[string]kept{}, turns: make(chan struct{}, maxRunning)})
	return nil
}

// validate follows the kubelet's rules.
func validate(config *kubeletconfigv1.CredentialProvider) error {
	want := credentialproviderv1.SchemeGroupVersion.String()
	switch {
	case config.Name == "" || config.Name == "." || config.Name == ".." || strings.ContainsAny(config.Name, "/ "):
		return errors.New("name is not a file's name without spaces")
	case config.APIVersion != want:
		return fmt.Errorf("apiVersion is %q, and only %s is supported", config.APIVersion, want)
	case len(config.MatchImages) == 0:
		return errors.New("matchImages is empty")
	case config.DefaultCacheDuration == nil:
		return errors.New("defaultCacheDuration is missing")
	case config.DefaultCacheDuration.Duration < 0:
		return fmt.Errorf("defaultCacheDuration %v is below zero", config.DefaultCacheDuration.Duration)
	case config.TokenAttributes != nil:
		return errors.New("tokenAttributes: tokens of service accounts are not supported")
	}
	for i, key := range config.MatchImages {
		if _, err := keyring.Matches(key, "image"); err != nil {
			return fmt.Errorf("matchImages[%d] %q: %w", i, key, err)
		}
	}
	return nil
}
