package docker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/moby/moby/api/types/container"

	"healthcheck/watchdog/recovery"
)

// entryText is an entry as engines write it, with more fields than are read.
const entryText = `{"Id":"%s","Names":["/web/db","/db"],"Image":"postgres:17","ImageID":"sha256:1","Command":"postgres \"-c {[","Created":1,"Ports":[{"PrivatePort":5432,"Type":"tcp"}],
 "Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"db","com.docker.compose.config-hash":"abc","org.opencontainers.image.title":"x","watchdog.max-attempts":"5","heal":"True"},
 "State":"running","Status":"Up 2 hours (healthy)","HostConfig":{"NetworkMode":"container:f00"},
 "NetworkSettings":{"Networks":{"z":{"IPAMConfig":null,"Links":null,"Aliases":["db"],"IPAddress":"172.18.0.2","DNSNames":["db","f00"],"GwPriority":0},"a":null,"m":{"Aliases":null,"IPAddress":""}}},"Mounts":[]}`

// over is an engine that answers a list with this text.
func over(answer func() (int, io.Reader)) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Api-Version": {"1.44"}, "Content-Type": {"application/json"}}, Body: http.NoBody, Request: r}
		if strings.HasSuffix(r.URL.Path, "/containers/json") {
			if r.URL.RawQuery != "all=1" || r.Header.Get("User-Agent") != "watchdog" || !strings.HasPrefix(r.URL.Path, "/v1.44/") {
				return nil, fmt.Errorf("asked for %s by %q", r.URL, r.Header)
			}
			code, body := answer()
			resp.StatusCode, resp.Body = code, io.NopCloser(body)
		}
		return resp, nil
	}
}

func listOf(t *testing.T, answer func() (int, io.Reader)) *Client {
	t.Helper()
	c, err := New("unix:///simulated/engine.sock", over(answer))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestListIsReadAsTheClientReadsIt(t *testing.T) {
	text := "[" + fmt.Sprintf(entryText, "1") + ",\n" + fmt.Sprintf(entryText, "2") + " , " + `{"Id":"3","Names":null,"Labels":null,"State":"exited","Status":"Exited (1) 2 hours ago","HostConfig":{},"NetworkSettings":null}` + "]\n"
	c := listOf(t, func() (int, io.Reader) { return 200, iotest.OneByteReader(strings.NewReader(text)) })
	got, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var items []container.Summary
	if err := json.Unmarshal([]byte(text), &items); err != nil {
		t.Fatal(err)
	}
	for i, item := range items {
		if want := fromSummary(item); !reflect.DeepEqual(got[i], want) {
			t.Errorf("%+v\nwant\n%+v", got[i], want)
		}
	}
	d := got[0]
	if len(got) != 3 || d.Name != "db" || d.Health != "healthy" || d.NetworkOf != "f00" || len(d.Labels) != 4 || d.Labels["heal"] != "True" || len(d.Networks) != 3 ||
		!reflect.DeepEqual(d.Networks[2], recovery.Network{Name: "z", IP: "172.18.0.2", Aliases: []string{"db", "db", "f00"}}) {
		t.Errorf("%+v", got)
	}
}

// An entry that changes is read anew, one that does not is the same, whoever
// stands before it in the list.
func TestListAgain(t *testing.T) {
	text := "[" + fmt.Sprintf(entryText, "1") + "," + fmt.Sprintf(entryText, "2") + "]"
	c := listOf(t, func() (int, io.Reader) { return 200, strings.NewReader(text) })
	first, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text = "[" + fmt.Sprintf(entryText, "3") + "," + strings.Replace(fmt.Sprintf(entryText, "2"), "(healthy)", "(unhealthy)", 1) + "," + fmt.Sprintf(entryText, "1") + "]"
	second, err := c.List(t.Context())
	if err != nil || len(second) != 3 || second[0].ID != "3" || second[1].Health != "unhealthy" || !reflect.DeepEqual(second[2], first[0]) {
		t.Errorf("%+v, %v", second, err)
	}
	if third, err := c.List(t.Context()); err != nil || !reflect.DeepEqual(third, second) {
		t.Errorf("%+v, %v", third, err)
	}
	if len(c.lists.known) != 3 || len(c.lists.last) != 3 {
		t.Errorf("%d and %d entries are remembered", len(c.lists.known), len(c.lists.last))
	}
	text = "[]"
	if third, err := c.List(t.Context()); err != nil || len(third) != 0 || len(c.lists.known) != 0 {
		t.Errorf("%+v, %v, %d", third, err, len(c.lists.known))
	}
}

// A second list of the same containers allocates little: no entry is read.
func TestListAllocations(t *testing.T) {
	const n = 1000
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "%s"+entryText, map[bool]string{true: "[", false: ","}[i == 0], fmt.Sprint(i))
	}
	b.WriteString("]")
	c := listOf(t, func() (int, io.Reader) { return 200, bytes.NewReader(b.Bytes()) })
	list := func() {
		if all, err := c.List(t.Context()); err != nil || len(all) != n {
			t.Fatal(len(all), err)
		}
	}
	list()
	if allocs := testing.AllocsPerRun(5, list); allocs > n/4 {
		t.Errorf("%v allocations for %d containers that have not changed", allocs, n)
	}
}

func TestListErrors(t *testing.T) {
	entry := fmt.Sprintf(entryText, "1")
	for text, want := range map[string]string{
		"":                               errTorn.Error(),
		"[" + entry:                      errTorn.Error(),
		"[" + entry[:100]:                errTorn.Error(),
		"[" + entry + "] x":              errNoList.Error(),
		"[" + entry + entry + "]":        errNoList.Error(),
		"[,]":                            errNoList.Error(),
		`{"message":"x"}`:                errNoList.Error(),
		"<html>":                         errNoList.Error(),
		"null":                           errNoList.Error(),
		"[1]":                            errNoList.Error(),
		`[{"Id":1}]`:                     errNoJSON.Error(),
		`[{"Id":"1","Labels":[]}]`:       errNoJSON.Error(),
		`[{"Id":"1",}]`:                  errNoJSON.Error(),
		`[{"Id":"1" "State":"running"}]`: errNoJSON.Error(),
		`[{"Id":"1\q"}]`:                 errNoJSON.Error(),
		`[{"State":"running"}]`:          "an entry without an Id",
		`[{"Id":"` + strings.Repeat("x", 2*maxEntry) + `"}]`: errTooLarge.Error(),
	} {
		c := listOf(t, func() (int, io.Reader) { return 200, strings.NewReader(text) })
		if all, err := c.List(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %d entries, %v, want %q", text, len(all), err, want)
		}
	}
	c := listOf(t, func() (int, io.Reader) { return 500, strings.NewReader(`{"message":"no\nspace"}`) })
	if _, err := c.List(t.Context()); err == nil || err.Error() != `GET /containers/json: status 500: "no\nspace"` {
		t.Error(err)
	}
	c = listOf(t, func() (int, io.Reader) {
		return 200, io.MultiReader(strings.NewReader("["+entry), iotest.ErrReader(io.ErrUnexpectedEOF))
	})
	if _, err := c.List(t.Context()); err == nil || !strings.Contains(err.Error(), "unexpected EOF") {
		t.Error(err)
	}
}

// Whatever an engine writes: what both can read they read alike.
func FuzzList(f *testing.F) {
	f.Add([]byte("[" + fmt.Sprintf(entryText, "1") + "]"))
	f.Add([]byte(`[{"Id":"\ud83d\ude00\u0000","Names":["/a\/b"],"Status":" (starting)"},{"Id":"2"}]`))
	f.Add([]byte("[{\"Id\":\"\xff\xfe\",\"Labels\":{\"a\\n\":\"1\"}}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var got []recovery.Container
		names := names{}
		err := objects(iotest.HalfReader(bytes.NewReader(text)), func(object []byte) error {
			e, err := parseEntry(object, names)
			got = append(got, e.container())
			return err
		})
		if err != nil {
			return
		}
		var items []container.Summary
		if json.Unmarshal(text, &items) != nil || bytes.Count(text, []byte(`"Id"`)) != len(items) || bytes.Contains(text, []byte("null")) {
			return // looser than the client in what is not read, and stricter about names of fields
		}
		if len(items) != len(got) {
			t.Fatalf("%d of %d entries", len(got), len(items))
		}
		for i, item := range items {
			if item.ID != got[i].ID {
				t.Errorf("%q, want %q", got[i].ID, item.ID)
			}
		}
	})
}
