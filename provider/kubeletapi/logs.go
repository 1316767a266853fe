package kubeletapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/mux"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// maxSeconds is as far back as a time.Duration goes, and further than any log.
const maxSeconds = int64(math.MaxInt64 / time.Second)

// logs streams a container's log. Virtual Kubelet's handler is not used: it takes tailLines=0 for none, and puts
// words of its own before every message.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	vars, ctx := mux.Vars(r), r.Context()
	opts, err := parseLogOptions(r.URL.Query(), time.Now())
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	lines, err := s.cfg.Containers.Logs(ctx, containerOf(vars), opts)
	if err != nil {
		status, message := s.explainLogs(vars, opts.Previous, err)
		refuse(w, status, message)
		return
	}
	// Closing is what ends a read that waits for the next line when the client has gone.
	stop := context.AfterFunc(ctx, func() { _ = lines.Close() }) // the read says what is wrong
	defer func() {
		stop()
		_ = lines.Close() // nothing was written to it
	}()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	if err := copyLines(w, lines); err != nil && ctx.Err() == nil {
		logging.From(ctx).DebugContext(ctx, "log not sent whole", "pod", vars["namespace"]+"/"+vars["pod"], "err", err)
	}
}

func containerOf(vars map[string]string) operations.Container {
	return operations.Container{Namespace: vars["namespace"], Name: vars["pod"], Container: vars["container"]}
}

// refuse answers with message alone: kubectl prints it as it is.
func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, message) //nolint:gosec // plain text; an error is of a client that is gone
}

// copyLines sends each piece as it comes, and the head of the answer at once.
func copyLines(w http.ResponseWriter, lines io.Reader) error {
	flusher := http.NewResponseController(w)
	buffer := make([]byte, 32<<10)
	for {
		if err := flusher.Flush(); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		n, err := lines.Read(buffer)
		if n > 0 {
			if _, err := w.Write(buffer[:n]); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read: %w", err)
		}
	}
}

// explainLogs says why there is no log in the kubelet's words, which users know: kubectl prints them.
func (s *Server) explainLogs(vars map[string]string, previous bool, cause error) (status int, message string) {
	namespace, name, container := vars["namespace"], vars["pod"], vars["container"]
	if !errors.Is(cause, portlayer.ErrNotFound) {
		return http.StatusInternalServerError, cause.Error()
	}
	pod, err := s.cfg.Pod(namespace, name)
	if err != nil {
		return http.StatusNotFound, fmt.Sprintf("pod %q does not exist", name)
	}
	if !hasContainer(pod, container) {
		return http.StatusBadRequest, fmt.Sprintf("container %s is not valid for pod %s", container, name)
	}
	if previous {
		return http.StatusBadRequest, fmt.Sprintf("previous terminated container %q in pod %q not found", container, name)
	}
	reason := "ContainerCreating"
	if waiting := waitingReason(pod, container); waiting != "" {
		reason = waiting
	}
	return http.StatusBadRequest, fmt.Sprintf("container %q in pod %q is waiting to start: %s", container, name, reason)
}

func hasContainer(pod *corev1.Pod, name string) bool {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return true
			}
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == name {
			return true
		}
	}
	return false
}

func waitingReason(pod *corev1.Pod, name string) string {
	st := pod.Status
	for _, list := range [][]corev1.ContainerStatus{st.ContainerStatuses, st.InitContainerStatuses, st.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == name && list[i].State.Waiting != nil {
				return list[i].State.Waiting.Reason
			}
		}
	}
	return ""
}

// parseLogOptions reads PodLogOptions as the API server sends them.
func parseLogOptions(q url.Values, now time.Time) (podvm.LogOptions, error) {
	p := queryParser{q: q}
	opts := podvm.LogOptions{
		Follow:     p.flag("follow"),
		Previous:   p.flag("previous"),
		Timestamps: p.flag("timestamps"),
		LimitBytes: p.number("limitBytes", 1),
	}
	if q.Get("tailLines") != "" {
		lines := p.number("tailLines", 0)
		opts.Tail, opts.OnlyNew = int(lines), lines == 0
	}
	seconds := p.number("sinceSeconds", 1)
	if seconds > 0 {
		opts.Since = now.Add(-time.Duration(min(seconds, maxSeconds)) * time.Second)
	}
	if since := q.Get("sinceTime"); since != "" {
		if seconds > 0 {
			p.fail(errors.New("sinceSeconds and sinceTime exclude each other"))
		}
		at, err := time.Parse(time.RFC3339, since)
		p.fail(err)
		opts.Since = at
	}
	return opts, p.err
}

// queryParser keeps the first error.
type queryParser struct {
	q   url.Values
	err error
}

func (p *queryParser) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *queryParser) flag(name string) bool {
	text := p.q.Get(name)
	if text == "" {
		return false
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		p.fail(fmt.Errorf("%s is %q, neither true nor false", name, text))
	}
	return value
}

// number returns 0 for what is not there.
func (p *queryParser) number(name string, least int64) int64 {
	text := p.q.Get(name)
	if text == "" {
		return 0
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil || value < least {
		p.fail(fmt.Errorf("%s is %q, not a number from %d on", name, text, least))
		return 0
	}
	return value
}
