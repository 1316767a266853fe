package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// printBytes prints what the test expects of the same generator.
func printBytes(out io.Writer, count string) error {
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil {
		return err
	}
	_, err = io.CopyN(out, rand.NewChaCha8([32]byte{}), n)
	return err
}

// count writes in bursts, a hundred a second.
func count(out io.Writer, lines, rate string) error {
	n, err := strconv.Atoi(lines)
	if err != nil {
		return err
	}
	perSecond, err := strconv.Atoi(rate)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for begin, i := time.Now(), 0; i < n; <-tick.C {
		for due := int(time.Since(begin).Seconds() * float64(perSecond)); i < min(due, n); i++ {
			if _, err := fmt.Fprintf(w, "%-99d\n", i); err != nil {
				return err
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func digest(addresses []string) error {
	failed := make(chan error)
	for _, addr := range addresses {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		// Ends with the process.
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					failed <- err
					return
				}
				go answerDigest(conn)
			}
		}()
	}
	fmt.Println("listening") //nolint:forbidigo // what the test waits for
	return <-failed
}

func answerDigest(conn net.Conn) {
	defer conn.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, conn)
	if err == nil {
		_, _ = fmt.Fprintf(conn, "%d %x %s\n", n, hash.Sum(nil), conn.LocalAddr()) // the other end sees what it lacks
	}
}
