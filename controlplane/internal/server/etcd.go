package server

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	etcdName   = "vic"
	etcdSocket = "client.sock"
	// etcdNowhere stands where etcd wants the address at which others find it: there are no others.
	etcdNowhere = "http://localhost:2380"

	// The only member elects itself after one election timeout, which is a second by default and the greater part of
	// etcd's start. etcd wants it to be five heartbeats at least.
	etcdHeartbeatMillis = 20
	etcdElectionMillis  = 100
	// etcdSlow is how long a request takes before etcd logs it. An embedded etcd logs all of them by default.
	etcdSlow = 300 * time.Millisecond
)

// etcdServer is a member that is the whole cluster.
type etcdServer struct {
	*embed.Etcd
	dir *os.File
}

// startEtcd returns once etcd serves.
func startEtcd(ctx context.Context, cfg Config) (*etcdServer, error) {
	if err := os.MkdirAll(cfg.EtcdDir, 0o700); err != nil {
		return nil, fmt.Errorf("create etcd's directory: %w", err)
	}
	dir, err := os.Open(cfg.EtcdDir)
	if err != nil {
		return nil, fmt.Errorf("open etcd's directory: %w", err)
	}
	s := &etcdServer{dir: dir}
	config, err := s.config(cfg)
	if err != nil {
		return nil, err
	}
	if s.Etcd, err = embedEtcd(config); err != nil {
		return nil, errors.Join(fmt.Errorf("start etcd on %s: %w", cfg.EtcdDir, err), dir.Close())
	}
	select {
	case <-s.Server.ReadyNotify():
		return s, nil
	case err := <-s.Err():
		return s, fmt.Errorf("start etcd on %s: %w", cfg.EtcdDir, err)
	case <-s.Server.StopNotify():
		return s, fmt.Errorf("start etcd on %s: it stopped", cfg.EtcdDir)
	case <-ctx.Done():
		return s, fmt.Errorf("start etcd on %s: %w", cfg.EtcdDir, context.Cause(ctx))
	}
}

// embedEtcd makes an error of a panic: that is how etcd's raft meets a log that it can't read.
func embedEtcd(config *embed.Config) (e *embed.Etcd, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			e, err = nil, fmt.Errorf("its data may be damaged: %v", cause)
		}
	}()
	return embed.StartEtcd(config)
}

func (s *etcdServer) config(cfg Config) (*embed.Config, error) {
	socket, err := url.Parse(s.endpoint())
	if err != nil {
		return nil, fmt.Errorf("name etcd's socket: %w", err)
	}
	nowhere, err := url.Parse(etcdNowhere)
	if err != nil {
		return nil, fmt.Errorf("name etcd's peer: %w", err)
	}
	c := embed.NewConfig()
	c.Name = etcdName
	c.Dir = cfg.EtcdDir
	c.ListenClientUrls = []url.URL{*socket}
	c.AdvertiseClientUrls = []url.URL{*nowhere}
	c.ListenPeerUrls = nil
	c.AdvertisePeerUrls = []url.URL{*nowhere}
	c.InitialCluster = etcdName + "=" + etcdNowhere
	c.EnableGRPCGateway = false
	c.TickMs, c.ElectionMs = etcdHeartbeatMillis, etcdElectionMillis
	c.WarningUnaryRequestDuration = etcdSlow
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(etcdLogger(cfg))
	return c, nil
}

// endpoint is where etcd's clients in this process find it. A socket's path has room for 107 bytes and the
// directory's may be longer, so the path goes through the open directory.
func (s *etcdServer) endpoint() string {
	return fmt.Sprintf("unix:///proc/self/fd/%d/%s", s.dir.Fd(), etcdSocket)
}

func (s *etcdServer) failed() <-chan struct{} { return s.Server.StopNotify() }

func (s *etcdServer) failure() error {
	select {
	case err := <-s.Err():
		return fmt.Errorf("etcd ended: %w", err)
	default:
		return errors.New("etcd ended by itself")
	}
}

// stop closes etcd. All that it acknowledged is on disk, so that nothing is lost when the time is up first.
func (s *etcdServer) stop(limit time.Duration) error {
	if s.Etcd == nil {
		return nil
	}
	closed := make(chan struct{})
	go func() {
		// etcd's own time limits end it.
		defer close(closed)
		s.Close()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-closed:
		return s.dir.Close()
	case <-timer.C:
		return nil
	}
}

// etcdLogger writes to the log, and has the process end when etcd panics or gives up, which it does for a full disk and
// for data that it can't read.
func etcdLogger(cfg Config) *zap.Logger {
	encoder := zap.NewProductionEncoderConfig()
	encoder.EncodeTime = zapcore.RFC3339TimeEncoder
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(encoder), zapcore.AddSync(cfg.Log), zapcore.InfoLevel)
	hook := etcdFatal{dir: cfg.EtcdDir, fatal: cfg.Fatal}
	return zap.New(core, zap.WithFatalHook(hook), zap.WithPanicHook(hook)).Named("etcd")
}

// etcdFatal reports the log entry that etcd wanted to be its last.
type etcdFatal struct {
	dir   string
	fatal func(cause string)
}

// OnWrite is called with the entry, after it was written.
func (e etcdFatal) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	message := []string{"etcd in " + filepath.Clean(e.dir), entry.Message}
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok {
			message = append(message, err.Error())
		}
	}
	e.fatal(strings.Join(message, ": "))
}
