package credentialprovider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletconfigv1 "k8s.io/kubelet/config/v1"
	credentialproviderv1 "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

const (
	// programTimeout is the kubelet's.
	programTimeout = time.Minute
	// outputTimeout is how long what a program has started may hold its output open after its end.
	outputTimeout = 5 * time.Second
	// maxOutput bounds a response, maxComplaint what an error quotes of the standard error, and
	// maxShown of a word in the response.
	maxOutput    = 1 << 20
	maxComplaint = 1 << 10
	maxShown     = 64
)

// run asks a program for the credentials of a repository.
func run(
	ctx context.Context, program string, config *kubeletconfigv1.CredentialProvider, repository string,
) (*credentialproviderv1.CredentialProviderResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, programTimeout)
	defer cancel()
	request, err := json.Marshal(credentialproviderv1.CredentialProviderRequest{
		TypeMeta: metav1.TypeMeta{APIVersion: config.APIVersion, Kind: "CredentialProviderRequest"},
		Image:    repository,
	})
	if err != nil {
		return nil, err
	}
	out, complaint := bounded{most: maxOutput}, bounded{most: maxComplaint}
	cmd := exec.CommandContext(ctx, program, config.Args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(request), &out, &complaint
	cmd.WaitDelay = outputTimeout
	cmd.Env = os.Environ()
	for _, v := range config.Env {
		cmd.Env = append(cmd.Env, v.Name+"="+v.Value)
	}
	switch err := cmd.Run(); {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("it did not end within %v", programTimeout)
	case err != nil:
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(complaint.b.String()))
	case out.over:
		return nil, fmt.Errorf("its response has more than %d bytes", maxOutput)
	}
	return decode(out.b.Bytes(), config.APIVersion)
}

func decode(text []byte, apiVersion string) (*credentialproviderv1.CredentialProviderResponse, error) {
	var response credentialproviderv1.CredentialProviderResponse
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&response); err != nil {
		return nil, errors.New("its response is not a CredentialProviderResponse") // the cause would quote it
	}
	if response.APIVersion != apiVersion || response.Kind != "CredentialProviderResponse" {
		return nil, fmt.Errorf("its response is %q %q, not %s CredentialProviderResponse",
			shown(response.APIVersion), shown(response.Kind), apiVersion)
	}
	return &response, nil
}

// shown is the beginning of a word that should be a short one.
func shown(word string) string { return word[:min(len(word), maxShown)] }

// bounded keeps the beginning of what is written, and takes the rest.
type bounded struct {
	b    bytes.Buffer
	most int
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.most - b.b.Len()
	b.over = b.over || len(p) > room
	_, _ = b.b.Write(p[:min(len(p), room)]) // a Buffer takes everything
	return len(p), nil
}
