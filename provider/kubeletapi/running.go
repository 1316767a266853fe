package kubeletapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/virtual-kubelet/vic/portlayer"
)

// running lets next serve the streams of what runs. Everything else is refused in the kubelet's words, which users know,
// and before the connection is upgraded: after that a refusal could only be an internal error of the command.
func (s *Server) running(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		vars := mux.Vars(r)
		if err := s.cfg.Containers.Running(r.Context(), containerOf(vars)); err != nil {
			status, message := s.explainStream(vars, err)
			refuse(w, status, message)
			return
		}
		next(w, r)
	}
}

func (s *Server) explainStream(vars map[string]string, cause error) (status int, message string) {
	namespace, name, container := vars["namespace"], vars["pod"], vars["container"]
	if !errors.Is(cause, portlayer.ErrNotFound) && !errors.Is(cause, portlayer.ErrNotRunning) {
		return http.StatusInternalServerError, cause.Error()
	}
	if _, err := s.cfg.Pod(namespace, name); err != nil {
		return http.StatusNotFound, "pod does not exist"
	}
	if container == "" {
		return http.StatusInternalServerError, fmt.Sprintf("pod not found (%q)", name+"_"+namespace)
	}
	return http.StatusInternalServerError, notFoundMessage(container)
}

func notFoundMessage(container string) string {
	return fmt.Sprintf("container not found (%q)", container)
}
