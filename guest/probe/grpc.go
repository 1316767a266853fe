package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// The health service of gRPC (grpc/health/v1/health.proto): Check takes a message with one string, field 1, and answers
// one with one enumeration, field 1. A message goes over HTTP/2 behind a byte that is 1 if it is compressed and four
// bytes of length (PROTOCOL-HTTP2.md of gRPC).
const (
	healthCheck   = "/grpc.health.v1.Health/Check"
	prefixBytes   = 5
	maxMessage    = 4 << 10
	tagString     = 1<<3 | 2
	tagEnum       = 1 << 3
	unimplemented = 12
	exceeded      = 4
	serving       = 1
)

var (
	servingNames = []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}
	codeNames    = []string{
		"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
		"ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable",
		"DataLoss", "Unauthenticated",
	}
)

var errNotGRPC = errors.New("the answer is not gRPC")

func doGRPC(ctx context.Context, a wire.GRPCAction, timeout time.Duration, t Target) Outcome {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	address := hostPort("", a.Port, t)
	transport := &http.Transport{DialContext: dialer.DialContext, Protocols: new(http.Protocols), DisableCompression: true}
	service := url.URL{Scheme: "http", Host: address, Path: healthCheck}
	if a.TLS {
		service.Scheme = "https"
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // as the kubelet has it
		transport.Protocols.SetHTTP2(true)
	} else {
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	defer transport.CloseIdleConnections()
	resp, err := call(ctx, transport, service, a.Service, timeout)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return failure("timeout: health rpc did not complete within %v", timeout)
	case err != nil:
		return failure("error: failed to connect service at %q: %v", address, err)
	}
	defer resp.Body.Close()
	answer, err := readAnswer(resp)
	if err != nil && ctx.Err() != nil {
		return failure("timeout: health rpc did not complete within %v", timeout)
	}
	return answer.outcome(err, timeout)
}

// call sends the request. The answer's trailers come with the end of its body.
func call(ctx context.Context, via http.RoundTripper, to url.URL, service string, timeout time.Duration) (*http.Response, error) {
	message := []byte{}
	if service != "" {
		message = append(binary.AppendUvarint([]byte{tagString}, uint64(len(service))), service...)
	}
	body := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	r.Header.Set("User-Agent", AgentProbe)
	r.Header.Set("Grpc-Timeout", strconv.FormatInt(timeout.Milliseconds(), 10)+"m")
	return via.RoundTrip(r)
}

// answer is what a server said: code is gRPC's own, serving the health.
type answer struct {
	code    int
	message string
	serving uint64
}

func readAnswer(resp *http.Response) (answer, error) {
	if resp.StatusCode != http.StatusOK {
		return answer{}, fmt.Errorf("%w: HTTP status %d", errNotGRPC, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	if err != nil {
		return answer{}, err
	}
	trailer := resp.Trailer
	if resp.Header.Get("Grpc-Status") != "" { // an answer of nothing but a status
		trailer = resp.Header
	}
	code, err := strconv.Atoi(trailer.Get("Grpc-Status"))
	if err != nil {
		return answer{}, fmt.Errorf("%w: grpc-status is %q", errNotGRPC, trailer.Get("Grpc-Status"))
	}
	a := answer{code: code}
	if a.message, err = url.PathUnescape(trailer.Get("Grpc-Message")); err != nil {
		a.message = trailer.Get("Grpc-Message")
	}
	if code == 0 {
		a.serving, err = servingStatus(body)
	}
	return a, err
}

// servingStatus reads the one field of the answer; without it, it is 0.
func servingStatus(body []byte) (uint64, error) {
	if len(body) < prefixBytes || body[0] != 0 {
		return 0, fmt.Errorf("%w: no message", errNotGRPC)
	}
	message := body[prefixBytes:]
	if len(message) == 0 {
		return 0, nil
	}
	status, n := binary.Uvarint(message[1:])
	if message[0] != tagEnum || n <= 0 {
		return 0, fmt.Errorf("%w: a message of another kind", errNotGRPC)
	}
	return status, nil
}

func (a answer) outcome(err error, timeout time.Duration) Outcome {
	switch {
	case err != nil:
		return failure("error: health rpc probe failed: %v", err)
	case a.code == unimplemented:
		return failure("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %s", a.message)
	case a.code == exceeded:
		return failure("timeout: health rpc did not complete within %v", timeout)
	case a.code != 0:
		return failure("error: health rpc probe failed: rpc error: code = %s desc = %s", name(codeNames, uint64(a.code)), a.message)
	case a.serving != serving:
		return failure("service unhealthy (responded with %q)", name(servingNames, a.serving))
	}
	return Outcome{Result: Success, Output: "service healthy"}
}

func name(names []string, i uint64) string {
	if i < uint64(len(names)) {
		return names[i]
	}
	return strconv.FormatUint(i, 10)
}
