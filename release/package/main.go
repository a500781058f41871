// Package builds the packages of a release, for Debian and for RPM, from the
// programs that lie in a directory already.
//
//	package VERSION DIR
package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: package VERSION DIR")
		os.Exit(1)
	}
	if err := build(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// build writes both packages for both architectures into dir.
func build(version, dir string) error {
	pages, err := os.MkdirTemp("", "package")
	if err != nil {
		return err
	}
	defer os.RemoveAll(pages)
	for _, name := range []string{"healthcheck.1", "watchdog.1"} {
		if err := compress(filepath.Join("packaging/man", name), filepath.Join(pages, name+".gz")); err != nil {
			return err
		}
	}
	for _, arch := range []string{"amd64", "arm64"} {
		for _, format := range []string{"deb", "rpm"} {
			if err := write(info(version, arch, format, dir, pages), format, dir); err != nil {
				return fmt.Errorf("%s for %s: %w", format, arch, err)
			}
		}
	}
	return nil
}

// released is the time of all files, so that a release is the same byte by byte.
var released = time.Unix(0, 0).UTC()

// info is what a package says of itself, and what it holds.
func info(version, arch, format, dir, pages string) *nfpm.Info {
	var contents files.Contents
	add := func(from, to, kind string, mode os.FileMode) {
		contents = append(contents, &files.Content{Source: from, Destination: to, Type: kind, FileInfo: &files.ContentFileInfo{Mode: mode, Owner: "root", Group: "root", MTime: released}})
	}
	zsh := map[string]string{"deb": "/usr/share/zsh/vendor-completions/", "rpm": "/usr/share/zsh/site-functions/"}[format]
	for _, program := range []string{"healthcheck", "watchdog"} {
		add(filepath.Join(dir, program+"-linux-"+arch), "/usr/bin/"+program, files.TypeFile, 0o755)
		add(filepath.Join(pages, program+".1.gz"), "/usr/share/man/man1/"+program+".1.gz", files.TypeFile, 0o644)
		add("packaging/completions/"+program+".bash", "/usr/share/bash-completion/completions/"+program, files.TypeFile, 0o644)
		add("packaging/completions/_"+program, zsh+"_"+program, files.TypeFile, 0o644)
		add("packaging/completions/"+program+".fish", "/usr/share/fish/vendor_completions.d/"+program+".fish", files.TypeFile, 0o644)
	}
	add("packaging/healthcheck-watchdog.service", "/usr/lib/systemd/system/healthcheck-watchdog.service", files.TypeFile, 0o644)
	add("packaging/watchdog.yml", "/etc/watchdog/watchdog.yml", files.TypeConfigNoReplace, 0o644)
	add("docs/watchdog.md", "/usr/share/doc/healthcheck-watchdog/watchdog.md", files.TypeFile, 0o644)
	i := &nfpm.Info{
		Name: "healthcheck-watchdog", Arch: arch, Platform: "linux", Version: strings.TrimPrefix(version, "v"), Section: "admin", Priority: "optional",
		Maintainer: "healthcheck <healthcheck@localhost>", MTime: released,
		Description: "Restarts the unhealthy containers of a Docker host\nwatchdog follows the engine's health events, restarts what is unhealthy, with\nbackoff, and notifies people when it gives up. healthcheck is the probe.",
	}
	i.Contents = contents
	// Debian's watchdog is the hardware's timer, and has a program of that name.
	i.Conflicts = []string{"watchdog"}
	i.Suggests = []string{"docker.io"}
	if format == "rpm" {
		i.Suggests = []string{"moby-engine"}
	}
	i.Scripts = nfpm.Scripts{PostInstall: "packaging/scripts/postinstall.sh", PreRemove: "packaging/scripts/preremove.sh", PostRemove: "packaging/scripts/postremove.sh"}
	i.RPM.BuildHost = "localhost"
	return i
}

// write makes one package.
func write(i *nfpm.Info, format, dir string) (err error) {
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	i = nfpm.WithDefaults(i)
	if err := nfpm.PrepareForPackager(i, format); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, packager.ConventionalFileName(i)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return packager.Package(i, f)
}

// compress writes a file as man pages are installed.
func compress(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression) // without a time of its own
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(to, out.Bytes(), 0o644)
}
