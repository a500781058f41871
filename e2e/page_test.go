package e2e

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"healthcheck/e2e/browser"
)

// eval evaluates JavaScript in a tab.
func eval[T any](t *testing.T, tab *browser.Tab, script string) T {
	t.Helper()
	v, err := browser.Eval[T](tab, script)
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return v
}

// becomes waits for a condition in a tab.
func becomes(t *testing.T, tab *browser.Tab, what, script string) {
	t.Helper()
	eventually(t, what, func() (string, bool) {
		if eval[bool](t, tab, script) {
			return "", true
		}
		return eval[string](t, tab, "document.body.innerText"), false
	})
}

// contrast lists the texts of a page that are hard to read: those whose ratio
// to what is behind them is below 4.5 (WCAG 2.2, 1.4.3).
const contrast = `(() => {
	const rgb = (text) => { const v = text.match(/[\d.]+/g).map(Number); return v.length < 4 ? [...v, 1] : v; };
	const bright = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c[3] === 1) return c; } return [255, 255, 255, 1]; };
	const bad = [];
	let seen = 0;
	for (const e of document.body.querySelectorAll("*")) {
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.closest("svg, noscript, .hidden") || !e.getClientRects().length) continue;
		seen++;
		const [a, b] = [bright(rgb(getComputedStyle(e).color)), bright(behind(e))];
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) bad.push(e.className + " " + e.textContent.slice(0, 30) + ": " + ratio.toFixed(2));
	}
	return seen > 30 ? bad : ["only " + seen + " texts"];
})()`

// probedApp are the arguments of an application whose probe checks its
// resources and itself.
func probedApp(name string) []string {
	return []string{"--name", name, "--network", "none", "--memory", "64m", "-e", "LISTEN=:8080", "-e", "HEALTHCHECK_STATE_DIR=none", "-e", "HEALTHCHECK_LAYERS=resource,api", "-e", "HEALTHCHECK_API=http://localhost:8080/readyz"}
}

// The page in a real browser: names that hold markup, control characters and
// four thousand bytes; updates without a reload, which move nothing and close
// nothing; narrow, dark and without JavaScript; its policy and the console.
func TestPageInChromium(t *testing.T) {
	t.Parallel()
	const evil = `<img src=x onerror=alert(1)>`
	long := "\x1b[31m<script>alert(2)</script>" + strings.Repeat("x", 4000)
	hostile := newContainer(t, "--label", "com.docker.compose.project="+evil, "--label", "com.docker.compose.service="+long, "--label", "org.example.note="+long)
	app := runName("page-app")
	start(t, append(probedApp(app), causesImage())...)
	url := "127.0.0.1:" + freePort(t)
	d := startWatchdog(t, nil, "--services", hostile+","+app, "--max-attempts", "1", "--probe-figures", "--evidence", "--host-name", "node7", "--listen", url)
	waitFor(t, hostile, "healthy")
	waitFor(t, app, "healthy")
	url = "http://" + url + "/"

	dir, err := os.MkdirTemp(runDir, "chromium-")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop, err := browser.Start(context.WithoutCancel(t.Context()), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	var tabs []*browser.Tab
	open := func(v browser.View) *browser.Tab {
		t.Helper()
		tab, err := browser.Open(ctx, url, v)
		if err != nil {
			t.Fatal(err)
		}
		tabs = append(tabs, tab)
		return tab
	}
	article := fmt.Sprintf(`[...document.querySelectorAll("#services article")].find((a) => a.querySelector("h3").textContent === %q)`, app)

	desk := open(browser.View{Width: 1200, Height: 900})
	becomes(t, desk, "it is connected", `document.getElementById("link").textContent === "live"`)
	becomes(t, desk, "figures are there", article+`.querySelectorAll(".checks .spark polyline, .checks .spark .dot").length >= 3`)
	if got := eval[string](t, desk, `document.querySelector("#services h3").textContent`); !strings.HasPrefix(got, evil+`/\x1b[31m<script>alert(2)</script>xxx`) || len(got) > 400 {
		t.Errorf("a name that holds markup: %q", got)
	}
	if n := eval[int](t, desk, `document.querySelectorAll("img, iframe, script:not([src])").length`); n != 0 {
		t.Errorf("%d elements out of labels", n)
	}
	// One banner, one main, one heading above the others, and words beside every
	// picture that means something.
	if got := eval[string](t, desk, `[document.querySelectorAll("body > header").length, document.querySelectorAll("main").length, document.querySelectorAll("h1").length, document.querySelectorAll("svg[role=img]:not([aria-label])").length, document.documentElement.lang].join(" ")`); got != "1 1 1 0 en" {
		t.Errorf("landmarks: %s", got)
	}

	// It updates in place.
	eval[bool](t, desk, article+`.querySelector("details").open = true`)
	eval[bool](t, desk, `(() => {
		window.untouched = true; window.shift = 0; window.shifts = [];
		const name = (s) => s.node && (s.node.parentElement?.className || "") + " " + (s.node.id || s.node.className || s.node.nodeName);
		requestAnimationFrame(() => requestAnimationFrame(() => new PerformanceObserver((list) => {
			for (const e of list.getEntries()) { window.shift += e.value; window.shifts.push([e.value, ...e.sources.map(name)].join(" ")); }
		}).observe({type: "layout-shift"})));
		return true;
	})()`)
	dockerExec(t, app, "/testapp", "fail", "-1")
	becomes(t, desk, "it shows that the service was given up", `!!`+article+`.matches(".given-up") && !!document.querySelector("#incidents .open") && document.title.startsWith("1 of 2 services is not healthy")`)
	if !eval[bool](t, desk, `window.untouched === true && `+article+`.querySelector("details").open`) {
		t.Error("it was loaded anew, or what was open is closed")
	}
	text := eval[string](t, desk, "document.body.innerText")
	for _, part := range []string{"given up", "watchdog reset " + app, "api: GET http://localhost:8080/readyz: status 503", "watchdog history --show 2", "critical", "memory"} {
		if !strings.Contains(text, part) {
			t.Errorf("the page lacks %q:\n%s", part, text)
		}
	}
	// A text that changes its length moves its line by some pixels, and no other.
	if shift := eval[float64](t, desk, "window.shift"); shift > 0.005 {
		t.Errorf("the layout has shifted by %v: %q", shift, eval[[]string](t, desk, "window.shifts"))
	}

	phone, dark, plain := open(browser.View{Width: 360, Height: 740, Scale: 2}), open(browser.View{Width: 1200, Height: 900, Dark: true}), open(browser.View{Width: 800, Height: 900, NoScript: true})
	for name, tab := range map[string]*browser.Tab{"desktop": desk, "phone": phone, "dark": dark, "no JavaScript": plain} {
		if name != "no JavaScript" {
			becomes(t, tab, name+" is connected", `document.getElementById("link").textContent === "live"`)
		}
		if bad := eval[[]string](t, tab, contrast); len(bad) > 0 {
			t.Errorf("%s: hard to read: %q", name, bad)
		}
		if wide := eval[int](t, tab, "document.documentElement.scrollWidth - innerWidth"); wide > 0 {
			t.Errorf("%s: %d pixels too wide", name, wide)
		}
		shot, err := tab.Screenshot()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		picture, err := png.Decode(bytes.NewReader(shot))
		if err != nil || picture.Bounds().Dx() < 360 || picture.Bounds().Dy() < 700 {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.WriteFile(filepath.Join(t.ArtifactDir(), strings.ReplaceAll(name, " ", "-")+".png"), shot, 0o644); err != nil {
			t.Error(err)
		}
	}
	if back := eval[string](t, dark, `getComputedStyle(document.documentElement).backgroundColor`); back != "rgb(14, 18, 23)" {
		t.Errorf("the dark page's background is %s", back)
	}
	if got := eval[string](t, plain, "document.body.innerText"); !strings.Contains(got, "given up") || !strings.Contains(got, "Without JavaScript this page is loaded anew") || strings.Contains(got, "connecting") {
		t.Errorf("without JavaScript:\n%s", got)
	}
	for _, tab := range tabs {
		if all := tab.Complaints(); len(all) > 0 {
			t.Errorf("the page complains: %q", all)
		}
	}

	// The policy holds, and what it refuses is complained of.
	eval[bool](t, desk, `(() => {
		const script = document.createElement("script");
		try { script.textContent = "window.evil = 1"; } catch { script.append("window.evil = 1"); }
		document.body.append(script, Object.assign(new Image(), {src: "http://127.0.0.1:1/x.png"}));
		return true;
	})()`)
	var complaints []string
	eventually(t, "the policy refuses a script and a picture", func() (string, bool) {
		complaints = append(complaints, desk.Complaints()...)
		all := strings.Join(complaints, "\n")
		return all, strings.Contains(all, "TrustedScript") && strings.Contains(all, "img-src")
	})
	if eval[bool](t, desk, "window.evil === 1") {
		t.Error("an inline script ran")
	}

	// A watchdog that has ended is no green page, and one that is back is.
	d.stop(t)
	becomes(t, phone, "it says that it may be old", `document.body.classList.contains("stale") && document.getElementById("link").textContent.startsWith("not connected")`)
	if !eval[bool](t, phone, `(() => { scrollTo(0, document.body.scrollHeight); const r = document.getElementById("link").getBoundingClientRect(); return scrollY > 100 && r.top >= 0 && r.bottom <= innerHeight; })()`) {
		t.Error("somebody who has scrolled down does not see that")
	}
	d.start(t)
	becomes(t, phone, "it is live again", `!document.body.classList.contains("stale") && document.getElementById("link").textContent === "live"`)
	// One that nobody sees asks for nothing, and is as it is now when it is seen.
	if !eval[bool](t, phone, `(() => {
		let closed = 0, hidden = true;
		const close = EventSource.prototype.close;
		EventSource.prototype.close = function () { closed++; close.call(this); };
		Object.defineProperty(document, "hidden", {get: () => hidden});
		document.querySelector("#asof time").textContent = "then";
		document.dispatchEvent(new Event("visibilitychange"));
		hidden = false;
		document.dispatchEvent(new Event("visibilitychange"));
		return closed === 1;
	})()`) {
		t.Error("the stream of a page that nobody sees stays open")
	}
	becomes(t, phone, "it is up to date", `document.querySelector("#asof time").textContent !== "then"`)
	if eval[bool](t, phone, `performance.getEntriesByType("navigation")[0].type !== "navigate"`) {
		t.Error("it was loaded anew")
	}
}
