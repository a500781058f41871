// Sick is the patient of the watchdog's tests: the one program in an image FROM
// scratch. Its health is in files, which survive a restart of the container.
//
//	sick serve       count the start, then wait for SIGTERM (DEAF=1: ignore it)
//	sick probe       exit 1 until as many starts as were asked for
//	sick ill N       be ill until N more starts; 0 is well, -1 for ever
//	sick die CODE    end the program that serves, by itself, with that code
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
		if starts, until := number("/starts"), number("/ill"); until < 0 || starts < until {
			fmt.Printf("pool exhausted: start %d, ill until %d\n", starts, until)
			os.Exit(1)
		}
		fmt.Println("ok")
	case "ill":
		n, _ := strconv.Atoi(os.Args[2])
		if n > 0 {
			n += number("/starts")
		}
		write("/ill", n)
	case "die":
		n, _ := strconv.Atoi(os.Args[2])
		write("/die", n)
		syscall.Kill(1, syscall.SIGUSR1)
	}
}

func serve() {
	write("/starts", number("/starts")+1)
	if n, ok := os.LookupEnv("ILL"); ok && number("/starts") == 1 {
		until, _ := strconv.Atoi(n)
		write("/ill", until)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGUSR1)
	fmt.Println("serving")
	for s := range signals {
		switch {
		case s == syscall.SIGUSR1:
			os.Exit(number("/die"))
		case os.Getenv("DEAF") == "":
			os.Exit(0)
		}
	}
}
