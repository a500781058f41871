// Testapp is the application of the watchdog's tests: the one program in an
// image FROM scratch. Its health is in files, which survive a restart of the
// container.
//
//	testapp serve       count the start, then wait for SIGTERM (IGNORE_SIGTERM=1: ignore it)
//	testapp probe       exit 1 until as many starts as were asked for
//	testapp fail N      fail until N more starts; 0 is healthy, -1 always fails
//	testapp die CODE    end the program that serves, by itself, with that code
//
// Under the name nvidia-smi it hangs.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func number(file string) int {
	text, _ := os.ReadFile(file)
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

func write(file string, n int) {
	if err := os.WriteFile(file, []byte(strconv.Itoa(n)), 0o644); err != nil {
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
		if starts, until := number("/starts"), number("/failing"); until < 0 || starts < until {
			fmt.Printf("pool exhausted: start %d, failing until %d\n", starts, until)
			os.Exit(1)
		}
		fmt.Println("ok")
	case "fail":
		n, _ := strconv.Atoi(os.Args[2])
		if n > 0 {
			n += number("/starts")
		}
		write("/failing", n)
	case "die":
		n, _ := strconv.Atoi(os.Args[2])
		write("/die", n)
		syscall.Kill(1, syscall.SIGUSR1)
	}
}

func serve() {
	write("/starts", number("/starts")+1)
	if n, ok := os.LookupEnv("FAIL"); ok && number("/starts") == 1 {
		until, _ := strconv.Atoi(n)
		write("/failing", until)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
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
