// Hungfs mounts a file system whose every question stays unanswered: the
// stand-in for a dead network mount. A process that asks it something is
// stuck in the kernel, beyond the reach of SIGKILL, until hungfs ends.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

type hung struct{ fuse.RawFileSystem }

func (hung) StatFs(<-chan struct{}, *fuse.InHeader, *fuse.StatfsOut) fuse.Status { select {} }
func (hung) GetAttr(<-chan struct{}, *fuse.GetAttrIn, *fuse.AttrOut) fuse.Status { select {} }
func (hung) Lookup(<-chan struct{}, *fuse.InHeader, string, *fuse.EntryOut) fuse.Status {
	select {}
}

func main() {
	srv, err := fuse.NewServer(hung{fuse.NewDefaultRawFileSystem()}, os.Args[1], &fuse.MountOptions{DirectMountStrict: true, FsName: "hungfs", Name: "hungfs"})
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go srv.Serve()
	fmt.Println("mounted")
	<-stop
	// The end of this process aborts the connection and frees who is stuck.
	syscall.Unmount(os.Args[1], syscall.MNT_DETACH)
}
