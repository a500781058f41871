package kept

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The directory may be shared with enemies.
func TestStateFileIsNotFooled(t *testing.T) {
	for _, c := range []struct {
		name  string
		plant func(t *testing.T, path, victim string)
		want  string // empty: read, and bounded
	}{
		{"symbolic link", func(t *testing.T, path, victim string) { must(t, os.Symlink(victim, path)) }, "is a symbolic link"},
		{"dangling link", func(t *testing.T, path, victim string) { must(t, os.Symlink(victim+".none", path)) }, "is a symbolic link"},
		{"hard link", func(t *testing.T, path, victim string) { must(t, os.Link(victim, path)) }, "has 2 links"},
		{"FIFO", func(t *testing.T, path, victim string) { must(t, syscall.Mkfifo(path, 0o600)) }, "not a regular file"},
		{"directory", func(t *testing.T, path, victim string) { must(t, os.Mkdir(path, 0o700)) }, "not a regular file"},
		{"writable by all", func(t *testing.T, path, victim string) {
			must(t, os.WriteFile(path, []byte("good"), 0o600))
			must(t, os.Chmod(path, 0o666))
		}, "writable by others"},
		{"huge", func(t *testing.T, path, victim string) { must(t, os.WriteFile(path, make([]byte, 1<<20), 0o600)) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path, victim := filepath.Join(dir, "s"), filepath.Join(dir, "victim")
			must(t, os.WriteFile(victim, []byte("precious"), 0o600))
			c.plant(t, path, victim)
			text, err := Load(path)
			if c.want == "" && (err != nil || len(text) != MaxFile) {
				t.Errorf("load: %d bytes, %v", len(text), err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || text != nil) {
				t.Errorf("load: %q, %v, want %q", text, err, c.want)
			}
			// Even if it were saved over: nothing is written through a link.
			err = Save(path, []byte("new"))
			if st, serr := os.Lstat(path); err == nil && (serr != nil || st.Mode() != 0o600) {
				t.Errorf("saved as %v, %v", st.Mode(), serr)
			}
			if text, _ := os.ReadFile(victim); string(text) != "precious" {
				t.Errorf("the victim now holds %q", text)
			}
			if _, err := os.Stat(victim + ".none"); err == nil {
				t.Error("a file was made through a dangling link")
			}
			if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestStateSurvivesManyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				if err := Save(path, bytes.Repeat([]byte{'0' + byte(i)}, 5000)); err != nil {
					t.Error(err)
				}
				if text, err := Load(path); err != nil || len(text) != 5000 || len(bytes.Trim(text, string(text[:1]))) > 0 {
					t.Errorf("a torn file: %d bytes, %v", len(text), err)
				}
			}
		})
	}
	wg.Wait()
}

// One file for each thing, of this user and mount namespace, and its name does
// not tell what the thing is.
func TestFileOfEachThing(t *testing.T) {
	d := Dir{Path: "/d"}
	own, a, b := d.File(""), d.File("vllm://a/m?api_key=hunter2"), d.File("vllm://b/m")
	if prefix := fmt.Sprintf("/d/healthcheck-%d-", os.Geteuid()); !strings.HasPrefix(own, prefix) || !strings.HasPrefix(a, strings.TrimSuffix(own, ".json")+"-") {
		t.Errorf("%s, %s", own, a)
	}
	if a == b || a == own || strings.Contains(a, "hunter2") || a != d.File("vllm://a/m?api_key=hunter2") {
		t.Errorf("%s, %s", a, b)
	}
}

func TestDirOfAnotherProcess(t *testing.T) {
	files := map[string]string{}
	d := Dir{Path: "/hangs",
		LoadFile: func(path string) ([]byte, error) { return []byte(files[path]), nil },
		SaveFile: func(path string, text []byte) error { files[path] = string(text); return nil }}
	must(t, d.Save("x", []byte("text")))
	if text, err := d.Load("x"); err != nil || string(text) != "text" || files[d.File("x")] != "text" {
		t.Errorf("%q, %v: %v", text, err, files)
	}
}

func TestMoments(t *testing.T) {
	a, err := Now()
	must(t, err)
	b, err := Now()
	must(t, err)
	if a.Boot == "" || a.Boot != b.Boot || a.At <= 0 || b.At < a.At {
		t.Errorf("%+v, then %+v", a, b)
	}
}
