package logfile

import (
	"flag"
	"log"

	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
)

// Capture sends what klog and the standard logger write to f, and has klog call exit, in place of [os.Exit], after a
// line of severity F. It changes the process's global loggers and belongs at the start of a program.
func Capture(f *File, exit func(cause string)) {
	flags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(flags)
	// With this and a logger, klog formats lines as ever, but no longer dumps stacks to standard error.
	_ = flags.Set("logtostderr", "true") // the name is klog's own and the value valid
	logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(f)))
	klog.SetLoggerWithOptions(logger, klog.ContextualLogger(true), klog.WriteKlogBuffer(func(line []byte) {
		_, _ = f.Write(line) // a log that can't be written must not end what it is about
	}))
	klog.OsExit = func(int) { exit(f.Fatal()) }
	log.SetOutput(f)
}
