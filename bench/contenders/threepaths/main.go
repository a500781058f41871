// Threepaths decides by measurement how the seed's three paths of one host are
// best asked: at once over a connection each, or one behind the other over
// one connection.
//
//	threepaths at-once|in-turn URL URL URL
package main

import (
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	client := http.Client{Timeout: 5 * time.Second}
	var failed atomic.Bool
	get := func(url string) {
		resp, err := client.Get(url)
		if err != nil {
			failed.Store(true)
			return
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			failed.Store(true)
		}
	}
	var all sync.WaitGroup
	for _, url := range os.Args[2:] {
		if os.Args[1] == "at-once" {
			all.Go(func() { get(url) })
		} else {
			get(url)
		}
	}
	all.Wait()
	if failed.Load() {
		os.Exit(1)
	}
}
