// Package browser opens pages in Debian's Chromium, without a window, and
// collects what a page complains of.
package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// startTime is how long Chromium may take to start on a machine that is busy.
const startTime = 5 * time.Minute

// Start starts Chromium, with what it writes below dir. The end of parent, or
// stop, ends it.
func Start(parent context.Context, dir string) (ctx context.Context, stop func(), err error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.UserDataDir(dir), chromedp.Env("TMPDIR="+dir), chromedp.DisableGPU, chromedp.WSURLReadTimeout(startTime),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-proxy-server", true),
		// Nothing beyond this machine is asked for anything.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium has none for root
	}
	allocator, end := chromedp.NewExecAllocator(parent, options...)
	ctx, cancel := chromedp.NewContext(allocator)
	stop = func() { cancel(); end() }
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, nil, fmt.Errorf("starting Chromium: %w", err)
	}
	return ctx, stop, nil
}

// Tab is a page that is open.
type Tab struct {
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

// View is how a page is looked at.
type View struct {
	// Width and Height are of the window, in CSS pixels.
	Width, Height int64
	// Scale is how many pixels of a screenshot a CSS pixel is; 0 is 1.
	Scale float64
	Dark  bool
	// NoScript turns JavaScript off.
	NoScript bool
}

// Open opens a page in a tab of its own, which the end of the browser closes.
func Open(browser context.Context, url string, v View) (*Tab, error) {
	ctx, _ := chromedp.NewContext(browser)
	t := &Tab{ctx: ctx}
	if err := chromedp.Listen(ctx, t.listen); err != nil {
		return nil, err
	}
	scheme := "light"
	if v.Dark {
		scheme = "dark"
	}
	_, errMedia := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	_, errScript := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: v.NoScript})
	return t, errors.Join(errMedia, errScript, chromedp.Do(ctx, chromedp.EmulateViewport(v.Width, v.Height, chromedp.EmulateScale(max(v.Scale, 1))), chromedp.Navigate(url)))
}

// listen keeps what is wrong with a page: refused by its policy, an error or a
// warning on the console, an exception, a dialog.
func (t *Tab) listen(event any) {
	var text string
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level != log.EntryLevelError && e.Entry.Level != log.EntryLevelWarning {
			return
		}
		text = e.Entry.Text + " " + e.Entry.URL
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Text
		if o := e.ExceptionDetails.Exception; o != nil {
			text += ": " + o.Description
		}
	case *runtime.EventConsoleAPICalled:
		text = "console." + string(e.Type)
	case *page.EventJavascriptDialogOpening:
		text = "a dialog: " + e.Message
	default:
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.complaints = append(t.complaints, text)
}

// Complaints returns what the page has complained of since the last call.
func (t *Tab) Complaints() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := t.complaints
	t.complaints = nil
	return out
}

// Eval evaluates JavaScript in a tab.
func Eval[T any](t *Tab, script string) (T, error) {
	return chromedp.Run(t.ctx, chromedp.Evaluate[T](script))
}

// Screenshot is the whole page, as PNG.
func (t *Tab) Screenshot() ([]byte, error) {
	return chromedp.Run(t.ctx, chromedp.FullScreenshot(100))
}

// Visible is the window's part of the page, as PNG.
func (t *Tab) Visible() ([]byte, error) {
	return chromedp.Run(t.ctx, chromedp.CaptureScreenshot())
}
