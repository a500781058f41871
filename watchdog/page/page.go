package page

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"healthcheck/watchdog"
	"healthcheck/watchdog/timeline"
)

//go:embed assets
var assets embed.FS

// pageTemplate is parsed when the first page is asked for, which most runs of
// the program never are.
var pageTemplate = sync.OnceValues(func() (*template.Template, error) {
	return template.New("page.html").Funcs(template.FuncMap{"class": class, "top": top, "tall": tall, "fill": fill}).ParseFS(assets, "assets/page.html")
})

// class is a state's in the style sheet.
func class(s timeline.State) string { return strings.ReplaceAll(s.String(), " ", "-") }

// barHeight is that of the worst state's bar. A state is told by the height and
// the pattern of its bar, and not by its colour alone.
const barHeight = 24

// tall is the height of a state's bar.
func tall(s timeline.State) int {
	switch s {
	case timeline.Unknown:
		return 2
	case timeline.Stopped:
		return 4
	case timeline.Starting:
		return 6
	case timeline.Healthy:
		return 10
	case timeline.Restarting:
		return 14
	case timeline.Held:
		return 18
	case timeline.Unhealthy:
		return 21
	case timeline.GivenUp:
	}
	return barHeight
}

func top(s timeline.State) int { return barHeight - tall(s) }

// fill is what a state's bar is filled with.
func fill(s timeline.State) string {
	if s == timeline.Held || s == timeline.GivenUp {
		return "url(#p-" + class(s) + ")"
	}
	return "currentColor"
}

// Page serves the page and the stream of its changes.
type Page struct {
	// Source is asked for what is to be seen; false: there is no answer.
	Source func(ctx context.Context) (watchdog.Overview, bool)
	// Health says what is wrong with the program itself; nil for nothing.
	Health func(now time.Time) error
	About  About

	subscribers subscribers
	changes     atomic.Uint64 // counts the calls of Changed

	rendering sync.Mutex // held while it is rendered
	last      rendered
}

// rendered is a page that was made, or the error in its place.
type rendered struct {
	page  []byte
	err   error
	asOf  uint64 // the count of changes when it was begun
	ended time.Time
}

// keptFor is how long a page is good for others who ask, where nothing has
// changed: what many watchers cost is what one costs.
const keptFor = time.Second

// Register adds what is served to a multiplexer. Nothing there changes anything.
func (p *Page) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", p.page)
	mux.HandleFunc("GET /api/events", p.stream)
	for name, kind := range map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"} {
		mux.HandleFunc("GET /"+name, func(w http.ResponseWriter, _ *http.Request) {
			content, err := assets.ReadFile("assets/" + name)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", kind)
			w.Write(content)
		})
	}
}

// policy lets the page use its own files alone, and nobody put it into a frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Headers adds to every answer what keeps a browser from doing more with it
// than showing it.
func Headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func (p *Page) page(w http.ResponseWriter, r *http.Request) {
	text, err := p.current(context.WithoutCancel(r.Context()))
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(text)
}

// errNoAnswer is a source that gives none.
var errNoAnswer = errors.New("the watchdog does not answer")

// current is the page as it is now.
func (p *Page) current(ctx context.Context) ([]byte, error) {
	p.rendering.Lock()
	defer p.rendering.Unlock()
	asOf := p.changes.Load()
	if l := p.last; l.asOf == asOf && !l.ended.IsZero() && time.Since(l.ended) < keptFor {
		return l.page, l.err
	}
	text, err := p.render(ctx)
	p.last = rendered{text, err, asOf, time.Now()}
	return text, err
}

func (p *Page) render(ctx context.Context) ([]byte, error) {
	o, ok := p.Source(ctx)
	if !ok {
		return nil, errNoAnswer
	}
	t, err := pageTemplate()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, newView(o, p.About, p.Health(time.Now()))); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
