// Testapp is the application of the watchdog's tests: the one program in an
// image FROM scratch. Its health is in files, which survive a restart of the
// container.
//
//	testapp serve       count the start, then wait for SIGTERM (IGNORE_SIGTERM=1: ignore it)
//	testapp probe       exit 1 until as many starts as were asked for
//	LISTEN=:8080 testapp serve    the same, and answer /readyz by that, and /db by
//	                              whether http://$UPSTREAM/readyz ever failed; /health,
//	                              /v1/models and /metrics are vLLM's, whose engine hangs
//	                              by that, with a request pending
//	SAYS=text testapp serve       the same, and write that to the log
//	testapp fail N      fail until N more starts; 0 is healthy, -1 always fails
//	testapp hang 1|0    let the probes hang, or not
//	testapp spin        keep a core busy
//	testapp die CODE    end the program that serves, by itself, with that code
//
// Under the name nvidia-smi it hangs.
package main

import (
	"fmt"
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

func number(file string) int {
	text, _ := os.ReadFile(file)
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

// write replaces a file as a whole: whoever reads it finds a number.
func write(file string, n int) {
	err := os.WriteFile(file+".new", []byte(strconv.Itoa(n)), 0o644)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func main() {
	if filepath.Base(os.Args[0]) == "nvidia-smi" {
		time.Sleep(time.Hour) // a tool that hangs, whatever it is asked
	}
	switch os.Args[1] {
	case "serve":
		serve()
	case "probe":
		for number("/hanging") > 0 {
			time.Sleep(100 * time.Millisecond)
		}
		if text, yes := failing(); yes {
			fmt.Println(text)
			os.Exit(1)
		}
		fmt.Println("ok")
	case "fail":
		n, _ := strconv.Atoi(os.Args[2])
		if n > 0 {
			n += number("/starts")
		}
		write("/failing", n)
	case "spin":
		for n := 0; ; n++ {
			if n < 0 {
				return
			}
		}
	case "hang":
		n, _ := strconv.Atoi(os.Args[2])
		write("/hanging", n)
	case "die":
		n, _ := strconv.Atoi(os.Args[2])
		write("/die", n)
		syscall.Kill(1, syscall.SIGUSR1)
	}
}

// failing says whether it is to fail now, and in which words.
func failing() (text string, yes bool) {
	starts, until := number("/starts"), number("/failing")
	return fmt.Sprintf("pool exhausted: start %d, failing until %d", starts, until), until < 0 || starts < until
}

// listen answers over HTTP. Its pool of connections to the upstream is of the
// kind that stays broken, once it was, until the program is started again.
func listen(addr string) {
	http.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if text, yes := failing(); yes {
			http.Error(w, text, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	var stale atomic.Bool
	http.HandleFunc("/db", func(w http.ResponseWriter, _ *http.Request) {
		resp, err := http.Get("http://" + os.Getenv("UPSTREAM") + "/readyz")
		if err == nil {
			resp.Body.Close()
		}
		if err != nil || resp.StatusCode != http.StatusOK {
			stale.Store(true)
		}
		if stale.Load() {
			http.Error(w, "the pool has only broken connections", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	http.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/v1/models", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, `{"object":"list","data":[{"id":"m","object":"model"}]}`)
	})
	http.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		pending := 0
		if _, yes := failing(); yes {
			pending = 1
		}
		fmt.Fprintf(w, "vllm:num_requests_running{engine=\"0\"} %d\nvllm:iteration_tokens_total_count{engine=\"0\"} %d\n", pending, 1000*number("/starts"))
	})
	fmt.Fprintln(os.Stderr, "error:", http.ListenAndServe(addr, nil))
	os.Exit(1)
}

func serve() {
	if text := os.Getenv("SAYS"); text != "" {
		fmt.Println(text)
	}
	write("/starts", number("/starts")+1)
	if n, ok := os.LookupEnv("FAIL"); ok && number("/starts") == 1 {
		until, _ := strconv.Atoi(n)
		write("/failing", until)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
	if addr := os.Getenv("LISTEN"); addr != "" {
		go listen(addr)
	}
	fmt.Println("serving")
	for s := range signals {
		switch {
		case s == syscall.SIGUSR1:
			os.Exit(number("/die"))
		case os.Getenv("IGNORE_SIGTERM") == "":
			os.Exit(0)
		}
	}
}
