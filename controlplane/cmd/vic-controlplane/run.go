package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/virtual-kubelet/vic/controlplane/internal/listen"
	"github.com/virtual-kubelet/vic/controlplane/internal/logfile"
	"github.com/virtual-kubelet/vic/controlplane/internal/pki"
	"github.com/virtual-kubelet/vic/controlplane/internal/server"
	"github.com/virtual-kubelet/vic/controlplane/internal/statedir"
)

const (
	// neededSpace is two of etcd's log segments of 64 MiB, its database and our logs.
	neededSpace = 256 << 20
	// logLimit bounds the log and its predecessor each.
	logLimit = 16 << 20
)

func (o *runOptions) run(cmd *cobra.Command) (err error) {
	c, err := o.config()
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	dir, err := statedir.Open(ctx, c.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	if err := dir.CheckSpace(neededSpace); err != nil {
		return err
	}
	settings, err := c.settle(dir)
	if err != nil {
		return err
	}
	log, err := logfile.Open(c.logFile, logLimit)
	if err != nil {
		return err
	}
	stderr, err := logfile.TakeStderr(log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stderr.GiveBack()) }()
	end := fatal(ctx, stderr, c.logFile)
	logfile.Capture(log, end)
	listener, err := listen.Listen(ctx, listen.Config{Port: c.apiPort, Preferred: settings.APIPort, Pods: c.podListen})
	if err != nil {
		return err
	}
	config, err := c.prepare(dir, settings, listener)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	config.Log, config.Fatal = log, end
	return c.serve(ctx, cmd, dir, *config)
}

// settle compares the flags with what the directory was made with.
func (c *runConfig) settle(dir *statedir.Dir) (statedir.Settings, error) {
	s, err := dir.Settings()
	if err != nil {
		return s, err
	}
	cidr := c.serviceCIDR.String()
	if s.ServiceCIDR != "" && s.ServiceCIDR != cidr {
		return s, misuse("service-cidr", "%s was made with %s, which can't be changed to %s", c.dir, s.ServiceCIDR, cidr)
	}
	s.ServiceCIDR = cidr
	return s, nil
}

// prepare writes everything that has to be there before the start.
func (c *runConfig) prepare(
	dir *statedir.Dir, settings statedir.Settings, listener net.Listener,
) (*server.Config, error) {
	if tcp, ok := listener.Addr().(*net.TCPAddr); ok && c.apiPort == 0 {
		settings.APIPort = tcp.Port
	}
	if err := dir.SaveSettings(settings); err != nil {
		return nil, err
	}
	var podIP net.IP
	if c.podListen.IsValid() {
		podIP = c.podListen.Addr().AsSlice()
	}
	credentials, err := pki.Ensure(pki.Config{
		Dir: dir.Path("pki"), NodeName: c.nodeName, ServiceIP: server.FirstIP(c.serviceCIDR), PodListen: podIP,
	}, time.Now())
	if err != nil {
		return nil, err
	}
	config := &server.Config{
		EtcdDir: dir.Path("etcd"), WorkDir: dir.Path("components"), Listener: listener, PodListen: c.podListen,
		ServiceCIDR: c.serviceCIDR, Credentials: credentials, AdminKubeconfig: c.kubeconfig, NodeName: c.nodeName,
	}
	if err := os.MkdirAll(config.WorkDir, 0o700); err != nil {
		return nil, fmt.Errorf("create components' directory: %w", err)
	}
	if err := credentials.WriteKubeconfig(c.kubeconfig, config.Endpoint(), credentials.Admin); err != nil {
		return nil, err
	}
	return config, credentials.WriteKubeconfig(nodeKubeconfig(dir), config.Endpoint(), credentials.Node)
}

func nodeKubeconfig(dir *statedir.Dir) string { return dir.Path("vic-node.kubeconfig") }

// serve runs until ctx ends, and keeps the record true.
func (c *runConfig) serve(ctx context.Context, cmd *cobra.Command, dir *statedir.Dir, config server.Config) error {
	record := statedir.Record{
		Started: time.Now().UTC().Truncate(time.Second), State: statedir.StateStarting,
		Endpoint: config.Endpoint(), NodeName: c.nodeName, ServiceCIDR: c.serviceCIDR.String(),
		Kubeconfig: c.kubeconfig, NodeKubeconfig: nodeKubeconfig(dir), LogFile: c.logFile,
	}
	if c.podListen.IsValid() {
		record.PodListen = c.podListen.String()
	}
	if err := dir.SaveRecord(record); err != nil {
		return errors.Join(err, config.Listener.Close())
	}
	return server.Run(ctx, config, func() error {
		record.State = statedir.StateReady
		if err := dir.SaveRecord(record); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "ready %s\n", record.Endpoint); err != nil {
			klog.ErrorS(err, "Nobody was notified that the control plane is ready")
		}
		return nil
	})
}

// fatal returns what ends the process from any goroutine, when a component can't go on. Only the first cause is reported.
// Once ctx has ended there is none: components that are stopped while they start have no other way out than this.
func fatal(ctx context.Context, stderr io.Writer, logFile string) func(cause string) {
	var once sync.Mutex
	return func(cause string) {
		once.Lock() // and never unlocked
		if ctx.Err() != nil {
			os.Exit(0)
		}
		if cause == "" {
			cause = "a component gave up"
		}
		fmt.Fprintf(stderr, "%s: %s; see %s\n", program, cause, logFile)
		os.Exit(exitFailed)
	}
}
