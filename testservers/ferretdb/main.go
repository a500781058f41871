// Ferretdb serves MongoDB's wire protocol over SQLite: FerretDB's own main
// does not start when it was built as a module.
//
// Usage: ferretdb DIRECTORY TCP-ADDRESS [TLS-ADDRESS CERT KEY]
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	cfg := &ferretdb.Config{
		Handler:   "sqlite",
		SQLiteURL: "file:" + os.Args[1] + "/",
		Listener:  ferretdb.ListenerConfig{TCP: os.Args[2]},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	if len(os.Args) > 5 {
		cfg.Listener.TLS, cfg.Listener.TLSCertFile, cfg.Listener.TLSKeyFile = os.Args[3], os.Args[4], os.Args[5]
	}
	f, err := ferretdb.New(cfg)
	if err == nil {
		err = f.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
