// Command hello is the web server in the image hello:latest: it answers every request with the name of its pod.
// Under the name fetch it is a client: it prints the page at a URL.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const (
	listenAddress   = ":8080"
	headerTimeout   = 10 * time.Second
	shutdownTimeout = 5 * time.Second
	fetchTimeout    = 10 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	name := filepath.Base(os.Args[0])
	err := call(ctx, name, os.Args[1:])
	stop()
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", name, err) // there is nowhere else to report it
		os.Exit(1)
	}
}

// call runs the client or the server, as the program's name says.
func call(ctx context.Context, name string, args []string) error {
	if name != "fetch" {
		return serve(ctx, listenAddress, os.Stdout)
	}
	if len(args) != 1 {
		return errors.New("usage: fetch URL")
	}
	return fetch(ctx, args[0], os.Stdout)
}

// serve answers requests until ctx ends, and then lets open ones finish.
func serve(ctx context.Context, address string, out io.Writer) error {
	pod, err := os.Hostname()
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler(pod), ReadHeaderTimeout: headerTimeout}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }() // ends with Shutdown or a broken listener

	if _, err := fmt.Fprintf(out, "hello: serving on %s as %s\n", address, pod); err != nil {
		return errors.Join(err, server.Close())
	}
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, "hello: stopped"); err != nil {
		return err
	}
	return nil
}

func handler(pod string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "hello from %s\n", pod) // the client may have gone
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintln(w, "ok") // likewise
	})
	return mux
}

// fetch writes the page at url to out. Any answer but 200 is an error.
func fetch(ctx context.Context, url string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody) //nolint:gosec // the user's own, who may reach what the pod reaches
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req) //nolint:gosec // likewise
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // the page has been read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(out, resp.Body)
	return err
}
