// Nethttp is the least that a Go probe over HTTP can be: one GET with the
// standard library's client, exit 0 for status 200. Without a URL it only
// starts.
package main

import (
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		return
	}
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(os.Args[1])
	if err != nil || resp.StatusCode != http.StatusOK {
		os.Exit(1)
	}
	resp.Body.Close()
}
