// App is the one program in the benchmark's containers: the application, its
// steady client, and the hand that breaks things.
//
//	app serve                          answer /health, and / with the work: a file in $DATA, a PING of $DB
//	app steady RATE URL…               request them in turn, RATE a second; print a line for each
//	app fault crash|hang|flap|slow|silent   break the application in this container
//	app fill                           fill the disk at $DATA
//	app empty                          make room there again
//	app mend                           what a person would do about flap
//	app redis ADDR USER PASSWORD COMMAND…   one command to a Redis
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	faultFile = "/fault" // survives a restart of the container
	upFor     = 2 * time.Second
	loads     = 10 * time.Second
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("no command")
	}
	switch args = args[1:]; os.Args[1] {
	case "serve":
		return serve()
	case "steady":
		return steady(args)
	case "fault":
		if err := os.WriteFile(faultFile, []byte(args[0]), 0o600); err != nil {
			return err
		}
		if args[0] == "slow" || args[0] == "silent" {
			return nil // from its next start on
		}
		now()
		return syscall.Kill(1, syscall.SIGUSR1)
	case "fill":
		now()
		return fill(filepath.Join(os.Getenv("DATA"), "fill"))
	case "empty":
		return os.Remove(filepath.Join(os.Getenv("DATA"), "fill"))
	case "mend":
		os.Remove(faultFile)
		return syscall.Kill(1, syscall.SIGUSR1)
	case "redis":
		now()
		return redis(args[0], args[1], args[2], args[3:]...)
	}
	return fmt.Errorf("no command %q", os.Args[1])
}

// now prints when something breaks: to start a program in a container takes
// the engine a while.
func now() { fmt.Println(time.Now().UnixMilli()) }

// The states of an application that serves badly.
const (
	fine int32 = iota
	hung
	broken
	loading
)

var state atomic.Int32

func serve() error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
	var change <-chan time.Time
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) { answer(w, r, nil) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { answer(w, r, work) })
	listen := func() {
		fmt.Fprintln(os.Stderr, "error:", http.ListenAndServe(":8080", mux))
		os.Exit(1)
	}
	switch fault() {
	case "flap":
		change = time.After(upFor)
	case "slow":
		state.Store(loading)
		change = time.After(loads)
	case "silent":
		time.AfterFunc(loads, func() { go listen() })
	}
	if fault() != "silent" {
		go listen()
	}
	for {
		select {
		case <-change:
			if fault() == "flap" {
				state.Store(broken)
			} else {
				state.Store(fine)
			}
		case s := <-signals:
			if s == syscall.SIGTERM {
				return nil
			}
			change = nil
			switch fault() {
			case "crash":
				os.Remove(faultFile)
				return errors.New("out of luck")
			case "hang":
				os.Remove(faultFile) // a restart helps
				state.Store(hung)
			case "flap":
				state.Store(broken)
			default:
				state.Store(fine)
			}
		}
	}
}

func fault() string {
	text, _ := os.ReadFile(faultFile)
	return string(text)
}

func answer(w http.ResponseWriter, r *http.Request, work func() error) {
	switch state.Load() {
	case hung:
		<-r.Context().Done() // until the client leaves
		return
	case broken:
		http.Error(w, "pool exhausted", http.StatusServiceUnavailable)
		return
	case loading: // in the words of llama.cpp's server
		http.Error(w, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, http.StatusServiceUnavailable)
		return
	}
	if work != nil {
		if err := work(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	fmt.Fprintln(w, "ok")
}

// work is what a request needs: a page on the disk, a word with the database.
func work() error {
	if dir := os.Getenv("DATA"); dir != "" {
		f, err := os.CreateTemp(dir, "page-")
		if err != nil {
			return err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return err
		}
	}
	if db := os.Getenv("DB"); db != "" {
		return redis(db, "app", os.Getenv("DB_PASSWORD"), "PING")
	}
	return nil
}

// fill writes until nothing fits any more.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); errors.Is(err, syscall.ENOSPC) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// redis authenticates over a new connection and sends one command. A command
// that ends the server, or that it never answers, is an error.
func redis(addr, user, password string, command ...string) error {
	conn, err := net.DialTimeout("tcp", addr, 500*time.Millisecond)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(800 * time.Millisecond))
	in := bufio.NewReader(conn)
	for _, words := range [][]string{{"AUTH", user, password}, command} {
		var b strings.Builder
		fmt.Fprintf(&b, "*%d\r\n", len(words))
		for _, word := range words {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
		}
		if _, err := io.WriteString(conn, b.String()); err != nil {
			return err
		}
		reply, err := in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("%s: %w", words[0], err)
		}
		if strings.HasPrefix(reply, "-") {
			return fmt.Errorf("%s: %s", words[0], strings.TrimSpace(reply[1:]))
		}
	}
	return nil
}

// steady requests the URLs in turn, whether earlier requests have ended or
// not, over a new connection each, and prints when each was sent, its URL's
// number, and whether it was answered well.
func steady(args []string) error {
	rate, err := strconv.Atoi(args[0])
	if err != nil || rate < 1 || len(args) < 2 {
		return errors.New("usage: app steady RATE URL…")
	}
	urls := args[1:]
	hc := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	tick := time.NewTicker(time.Second / time.Duration(rate))
	for i := 0; ; i = (i + 1) % len(urls) {
		select {
		case <-signals:
			return nil
		case now := <-tick.C:
			go func() {
				ok := "fail"
				if resp, err := hc.Get(urls[i]); err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if resp.StatusCode == http.StatusOK {
						ok = "ok"
					}
				}
				fmt.Printf("%d %d %s\n", now.UnixMilli(), i, ok)
			}()
		}
	}
}
