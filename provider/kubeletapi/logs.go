package kubeletapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/mux"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/portlayer"
)

// logRequest is what a client wants to see of a log.
type logRequest struct {
	portlayer.LogOptions
	// none is set for no line from the past, which is not the same as no limit.
	none bool
}

// logs streams a container's log. Virtual Kubelet's handler is not used: it can't tell tailLines=0 from none, and puts
// words of its own before every message.
func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	vars, ctx := mux.Vars(r), r.Context()
	req, err := parseLogRequest(r.URL.Query(), time.Now())
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if req.none && !req.Follow {
		return
	}
	lines, err := s.cfg.Containers.Logs(ctx, containerOf(vars), req.LogOptions)
	if err != nil {
		status, message := s.explainLogs(vars, req.Previous, err)
		refuse(w, status, message)
		return
	}
	// Closing is what ends a read that waits for the next line when the client has gone.
	stop := context.AfterFunc(ctx, func() { _ = lines.Close() }) // the read tells what is wrong
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

// parseLogRequest reads PodLogOptions as the API server sends them.
func parseLogRequest(q url.Values, now time.Time) (logRequest, error) {
	p := queryParser{q: q}
	req := logRequest{LogOptions: portlayer.LogOptions{
		Follow:     p.flag("follow"),
		Previous:   p.flag("previous"),
		Timestamps: p.flag("timestamps"),
		Tail:       -1,
	}}
	if lines, ok := p.number("tailLines", 0); ok {
		req.Tail = int(lines)
	}
	if limit, ok := p.number("limitBytes", 1); ok {
		req.LimitBytes = limit
	}
	if seconds, ok := p.number("sinceSeconds", 1); ok {
		req.Since = now.Add(-time.Duration(seconds) * time.Second)
	}
	if since := q.Get("sinceTime"); since != "" {
		if !req.Since.IsZero() {
			p.fail(errors.New("sinceSeconds and sinceTime exclude each other"))
		}
		at, err := time.Parse(time.RFC3339, since)
		p.fail(err)
		req.Since = at
	}
	if req.Tail == 0 {
		// The port layer has no such thing as no line; what is written from now on comes to the same.
		req.none, req.Tail, req.Since = true, -1, now
	}
	return req, p.err
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

func (p *queryParser) number(name string, least int64) (int64, bool) {
	text := p.q.Get(name)
	if text == "" {
		return 0, false
	}
	value, err := strconv.ParseInt(text, 10, 32)
	if err != nil || value < least {
		p.fail(fmt.Errorf("%s is %q, not a number from %d on", name, text, least))
		return 0, false
	}
	return value, true
}
