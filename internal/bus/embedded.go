package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fettle.dev/fettle/internal/fault"
)

// embedded is a NATS server in this process, without a listener.
type embedded struct {
	server *server.Server
	lock   *os.File
	log    *slog.Logger
	stream string

	reached atomic.Uint64 // newest entry acknowledged

	mu       sync.Mutex // held while JetStream is started anew
	config   server.JetStreamConfig
	earliest time.Time // of the next attempt
}

func startEmbedded(ctx context.Context, cfg Config, logger *slog.Logger) (*embedded, error) {
	if cfg.Dir == "" {
		return nil, fault.New(fault.Invalid, "neither a directory nor an address is given")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := checkFiles(cfg.Dir, cfg.Stream, cfg.Reached); err != nil {
		_ = lock.Close()
		return nil, err
	}
	const memory = 256 << 20        // consumers keep their state there, not entries
	store := max(2*cfg.MaxBytes, 1) // the stream's own limit is the one that counts
	s, err := server.NewServer(&server.Options{
		ServerName:         "fettle",
		DontListen:         true,
		NoSigs:             true,
		JetStream:          true,
		StoreDir:           cfg.Dir,
		SyncAlways:         true,
		JetStreamMaxMemory: memory,
		JetStreamMaxStore:  store,
		MaxPayload:         int32(cfg.MaxPayload),
		MaxPending:         64 << 20,
	})
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	e := &embedded{
		server: s, lock: lock, log: logger, stream: cfg.Stream,
		config: server.JetStreamConfig{MaxMemory: memory, MaxStore: store, StoreDir: cfg.Dir, SyncAlways: true},
	}
	e.reached.Store(cfg.Reached)
	s.SetLoggerV2(serverLog{logger}, false, false, false)
	s.Start()
	for !s.ReadyForConnections(250 * time.Millisecond) {
		if err := ctx.Err(); err != nil {
			e.stop()
			return nil, err
		}
	}
	if !s.JetStreamEnabled() {
		e.stop()
		return nil, fault.New(fault.Unavailable, "JetStream did not start in %s; the log says why", cfg.Dir)
	}
	return e, nil
}

// lockDir keeps a second process out: JetStream does not.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fault.New(fault.Conflict, "another process uses %s", dir)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

func (e *embedded) stop() {
	e.server.Shutdown()
	e.server.WaitForShutdown()
	_ = e.lock.Close()
}

// room refuses when the disk has less free than minFree: better before than
// while JetStream writes.
func (e *embedded) room(minFree int64) error {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(e.config.StoreDir, &fs); err != nil {
		return fmt.Errorf("ask for free space: %w", err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < minFree {
		return fmt.Errorf("%w: the disk has %d MiB free, %d MiB must stay", ErrFull, free>>20, minFree>>20)
	}
	return nil
}

// revive starts JetStream anew when it can no longer write: after any error of
// the disk it refuses the stream until then. It tries at most once a second.
func (e *embedded) revive(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Before(e.earliest) {
		return
	}
	e.earliest = now.Add(time.Second)
	health := e.server.Healthz(&server.HealthzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT, Stream: e.stream})
	if health.Status == "ok" {
		return
	}
	e.log.Warn("stream: the store is started again", "why", health.Error)
	if err := e.server.ShutdownJetStream(); err != nil {
		e.log.Error("stream: stopping the store", "err", err)
	}
	if err := checkFiles(e.config.StoreDir, e.stream, e.reached.Load()); err != nil {
		e.log.Error("stream: the store is not started again", "err", err)
		return
	}
	config := e.config
	if err := e.server.EnableJetStream(&config); err != nil {
		e.log.Error("stream: starting the store again", "err", err)
	}
}

// serverLog hands the server's log on. Its notices are about itself.
type serverLog struct{ log *slog.Logger }

func (l serverLog) say(level slog.Level, format string, v []any) {
	l.log.Log(context.Background(), level, "stream server: "+strings.TrimSpace(fmt.Sprintf(format, v...)))
}

func (l serverLog) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l serverLog) Warnf(format string, v ...any)   { l.say(slog.LevelWarn, format, v) }
func (l serverLog) Fatalf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l serverLog) Errorf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l serverLog) Debugf(format string, v ...any)  { l.say(slog.LevelDebug, format, v) }
func (l serverLog) Tracef(format string, v ...any)  { l.say(slog.LevelDebug, format, v) }
