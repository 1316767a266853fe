package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	vklog "github.com/virtual-kubelet/virtual-kubelet/log"
)

var _ vklog.Logger = vkLogger{}

// vkLogger is slog as Virtual Kubelet's logger; the one that it ships panics when it is given an error.
//
// Only what went wrong reaches a person. The rest, warnings included, describes what Virtual Kubelet is about to do, such
// as a forced deletion that our client then refuses; and what is cut off by the end of the program is no news.
type vkLogger struct {
	l   *slog.Logger
	err error // of WithError
}

// print logs args as one message; the calls have no context.
func (v vkLogger) print(level slog.Level, args ...any) {
	ctx := context.Background()
	if v.l.Enabled(ctx, level) {
		v.l.Log(ctx, level, "virtual kubelet said", "message", fmt.Sprint(args...))
	}
}

func (v vkLogger) printf(level slog.Level, format string, args ...any) {
	ctx := context.Background()
	if v.l.Enabled(ctx, level) {
		v.l.Log(ctx, level, "virtual kubelet said", "message", fmt.Sprintf(format, args...))
	}
}

func (v vkLogger) Debug(args ...any)                 { v.print(slog.LevelDebug, args...) }
func (v vkLogger) Debugf(format string, args ...any) { v.printf(slog.LevelDebug, format, args...) }
func (v vkLogger) Info(args ...any)                  { v.print(slog.LevelDebug, args...) }
func (v vkLogger) Infof(format string, args ...any)  { v.printf(slog.LevelDebug, format, args...) }
func (v vkLogger) Warn(args ...any)                  { v.print(slog.LevelDebug, args...) }
func (v vkLogger) Warnf(format string, args ...any)  { v.printf(slog.LevelDebug, format, args...) }
func (v vkLogger) Error(args ...any)                 { v.print(v.levelOf(args), args...) }
func (v vkLogger) Errorf(format string, args ...any) { v.printf(v.levelOf(args), format, args...) }

// levelOf is that of a record with these arguments which Virtual Kubelet takes for an error.
func (v vkLogger) levelOf(args []any) slog.Level {
	err := v.err
	for _, arg := range args {
		if e, ok := arg.(error); ok && err == nil {
			err = e
		}
	}
	if err == nil || errors.Is(err, context.Canceled) {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// Fatal logs and panics, as what it means to end is this process.
func (v vkLogger) Fatal(args ...any) {
	msg := fmt.Sprint(args...)
	v.print(slog.LevelError, msg)
	panic(msg)
}

func (v vkLogger) Fatalf(format string, args ...any) { v.Fatal(fmt.Sprintf(format, args...)) }

// WithField adds a key and a value; whole objects, which Virtual Kubelet adds here and there, are left out.
func (v vkLogger) WithField(key string, value any) vklog.Logger {
	switch value.(type) {
	case string, bool, int, int32, int64, uint64, float64:
		return vkLogger{l: v.l.With(key, value), err: v.err}
	default:
		return v
	}
}

func (v vkLogger) WithFields(fields vklog.Fields) vklog.Logger {
	var l vklog.Logger = v
	for key, value := range fields {
		l = l.WithField(key, value)
	}
	return l
}

// WithError adds an error by its text: the errors of Virtual Kubelet would print their stacks.
func (v vkLogger) WithError(err error) vklog.Logger {
	if err == nil {
		return v
	}
	return vkLogger{l: v.l.With("err", err.Error()), err: err}
}
