// Command testpod runs in the end-to-end tests' pods, for what a shell can't do there.
//
//	testpod api HOST PATH   GET PATH from the API server by the name HOST and by its address in the environment, with the
//	                        pod's service account, and print the answers
//	testpod serve ADDR      serve HTTP on ADDR: /env prints the environment, /exists/PATH says by its status whether that
//	                        file is there
//	testpod bytes N         print N bytes of every kind, the same ones each time
//	testpod count N RATE    print N numbered lines of 100 bytes, RATE a second
//	testpod digest ADDR …   on each ADDR, read a connection to its end, answer with the length and digest of it, and close;
//	                        print a line when all listen
//	testpod memory TEXT     put TEXT into the shared memory (shmget(2)) of the IPC namespace, where there is none yet, and
//	                        print what is there
//	testpod tree ROOT …     print everything about each file below each ROOT, a line a file; of / only itself
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

func main() {
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "api":
		for _, host := range []string{args[1], os.Getenv("KUBERNETES_SERVICE_HOST")} {
			if err := api(os.Stdout, host, args[2]); err != nil {
				return err
			}
		}
		return nil
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1])
	case len(args) == 2 && args[0] == "bytes":
		return printBytes(os.Stdout, args[1])
	case len(args) == 3 && args[0] == "count":
		return count(os.Stdout, args[1], args[2])
	case len(args) >= 2 && args[0] == "digest":
		return digest(args[1:])
	case len(args) == 2 && args[0] == "memory":
		return sharedMemory(os.Stdout, args[1])
	case len(args) >= 2 && args[0] == "tree":
		return tree(os.Stdout, args[1:])
	default:
		return errors.New("usage: testpod api HOST PATH | serve ADDR | bytes N | count N RATE | digest ADDR … | memory TEXT | tree ROOT …")
	}
}

func api(out io.Writer, name, path string) error {
	ca, err := os.ReadFile(filepath.Join(serviceAccount, "ca.crt"))
	if err != nil {
		return err
	}
	token, err := os.ReadFile(filepath.Join(serviceAccount, "token"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	}
	host := net.JoinHostPort(name, os.Getenv("KUBERNETES_SERVICE_PORT"))
	req, err := http.NewRequest(http.MethodGet, "https://"+host+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+string(token))
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	_, err = io.Copy(out, resp.Body)
	return err
}

func serve(addr string) error {
	http.HandleFunc("/env", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Join(os.Environ(), "\n")) // the client is gone when it fails
	})
	http.HandleFunc("/exists/", func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat(strings.TrimPrefix(r.URL.Path, "/exists")); err != nil {
			http.Error(w, "absent", http.StatusServiceUnavailable)
		}
	})
	return (&http.Server{Addr: addr, ReadHeaderTimeout: 10 * time.Second}).ListenAndServe()
}
