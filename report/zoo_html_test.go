//go:build zoo

package report

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	devtools "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var shots = flag.String("shots", "", "write pictures of the pages into this directory")

// browser is a headless Chromium that keeps what went wrong and what was asked for.
type browser struct {
	ctx      context.Context
	mu       sync.Mutex
	problems []string // of scripts and of the policy
	requests []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("no chromium: install the package chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancelAlloc)
	timed, cancelTimed := context.WithTimeout(alloc, 8*time.Minute)
	t.Cleanup(cancelTimed)
	ctx, cancel := chromedp.NewContext(timed)
	t.Cleanup(cancel)
	b := &browser{ctx: ctx}
	b.do(t)
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	call(t, b, network.Enable, network.EnableParams{})
	return b
}

func (b *browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, e.ExceptionDetails.Text+": "+fmt.Sprint(e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		b.problems = append(b.problems, fmt.Sprintf("console.%s", e.Type))
	case *log.EventEntryAdded:
		b.problems = append(b.problems, e.Entry.Text)
	case *devtools.EventJavascriptDialogOpening:
		b.problems = append(b.problems, "a dialog: "+e.Message)
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	}
}

func (b *browser) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func run[T any](t *testing.T, b *browser, a chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(b.ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func call[P, R any](t *testing.T, b *browser, command cdp.Command[P, R], params P) {
	t.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		t.Fatal(err)
	}
}

// eval is the value of an expression in the page.
func eval[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	return run(t, b, chromedp.Evaluate[T](expression))
}

// open shows a value as a page.
func (b *browser) open(t *testing.T, v Value, o Options) {
	t.Helper()
	b.show(t, write(t, "html", v, o))
}

// show writes a page to a file and opens it, as a user does.
func (b *browser) show(t *testing.T, html []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, html, 0o600); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	b.problems, b.requests = nil, nil
	b.mu.Unlock()
	b.do(t, chromedp.Navigate("file://"+file), chromedp.WaitReady("body"))
}

// sound: the page ran without an error, and asked for nothing but itself.
func (b *browser) sound(t *testing.T, name string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.problems) > 0 {
		t.Errorf("%s: %q", name, b.problems)
	}
	if len(b.requests) != 1 || !strings.HasPrefix(b.requests[0], "file://") {
		t.Errorf("%s: requests %q, want that of the page alone", name, b.requests)
	}
}

// The browser of these tests sees what they say is not there: an error, what the policy refuses, and a request.
func TestZooWatches(t *testing.T) {
	b := newBrowser(t)
	page := string(write(t, "html", Leakscan(clean()), Options{}))
	for name, tt := range map[string]struct{ old, new, problem, request string }{
		"a script":     {"</main>", `<script>document.title = "run"</script></main>`, "Content Security Policy", ""},
		"a handler":    {"<h1>", `<h1 onclick="1">`, "Content Security Policy", ""},
		"a style":      {"<h1>", `<h1 style="color: red">`, "Content Security Policy", ""},
		"an image":     {"</main>", `<img src="http://127.0.0.1:9/x.png"></main>`, "Content Security Policy", ""},
		"an exception": {"</main>", "</main>", "Uncaught", ""},
		"a request":    {"Content-Security-Policy", "X", "", "http://127.0.0.1:9/x.png"},
	} {
		html := strings.Replace(page, tt.old, tt.new, 1)
		if tt.request != "" {
			html = strings.Replace(html, "</main>", `<img src="`+tt.request+`"></main>`, 1)
		}
		b.show(t, []byte(html))
		if name == "an exception" {
			eval[bool](t, b, `setTimeout(() => { throw new Error("x") }), true`)
			run(t, b, chromedp.Poll[bool](`new Promise((done) => setTimeout(() => done(true), 1))`))
		}
		b.mu.Lock()
		if tt.problem != "" && !strings.Contains(strings.Join(b.problems, " "), tt.problem) {
			t.Errorf("%s: problems %q", name, b.problems)
		}
		if tt.request != "" && !slices.Contains(b.requests, tt.request) {
			t.Errorf("%s: requests %q", name, b.requests)
		}
		b.mu.Unlock()
		if title := eval[string](t, b, "document.title"); title == "run" {
			t.Errorf("%s has run", name)
		}
	}
}

// screen makes the page so wide, in px.
func (b *browser) screen(t *testing.T, width int64) {
	t.Helper()
	call(t, b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1})
}

// media makes the page one for screen or print, and its reader one who likes light or dark.
func (b *browser) media(t *testing.T, media, scheme string) {
	t.Helper()
	call(t, b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
}

// pages are one of each kind.
func pages() map[string]Value {
	return map[string]Value{
		"leakscan": Leakscan(leaking()), "growing": Leakscan(growing()), "series": SeriesOf(overAWhile()), "all": LeakscanAll(crowd()),
		"tcpstat": Tcpstat(stat()), "tcpstat-series": StatSeries(stat(), hostSeries("web-1")), "clean": Leakscan(clean()),
		"partial": Leakscan(partial()), "trials": Trials(proved("no-timeout"), doubted()), "compare": Compare("before", leaking(), "after", clean()), "diff": diffGoldens()[0].value,
		"hostile": Leakscan(hostileResult()), "hostile-series": SeriesOf(measuredAs(growing(), strings.Join(hostile, " "))),
	}
}

// blank counts the plots in which nothing was drawn.
const blank = `[...document.querySelectorAll('.canvas')].filter((box) => {
  const canvas = box.querySelector('canvas');
  if (!canvas || !canvas.width || !canvas.height) return true;
  const bytes = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  return new Set(new Uint32Array(bytes.buffer)).size < 4;
}).length`

// Every page fits every screen in both colours, draws its plots, reports no error and asks for nothing.
func TestZooPagesFit(t *testing.T) {
	b := newBrowser(t)
	for name, v := range pages() {
		for _, colors := range []string{"light", "dark"} {
			for _, width := range []int64{360, 1280, 2560} {
				b.screen(t, width)
				b.media(t, "screen", colors)
				b.open(t, v, Options{Top: 40})
				at := fmt.Sprintf("%s, %d px, %s", name, width, colors)
				if wide := eval[int64](t, b, `document.documentElement.scrollWidth`); wide > width {
					t.Errorf("%s: the page is %d px wide", at, wide)
				}
				if n := eval[int](t, b, blank); n > 0 {
					t.Errorf("%s: %d plots are blank", at, n)
				}
				if n := eval[int](t, b, `[...document.querySelectorAll('.canvas')].filter((c) => c.scrollWidth > c.clientWidth + 1).length`); n > 0 {
					t.Errorf("%s: %d plots are wider than their place", at, n)
				}
				if n := eval[int](t, b, `document.querySelectorAll('main script, img, iframe, object, embed, link, form, style ~ style').length`); n > 0 {
					t.Errorf("%s: %d elements that no page of ours has", at, n)
				}
				b.sound(t, at)
				b.shoot(t, fmt.Sprintf("%s-%d-%s", name, width, colors))
			}
		}
	}
}

// shoot keeps a picture of the page, if that is asked for.
func (b *browser) shoot(t *testing.T, name string) {
	t.Helper()
	if *shots == "" {
		return
	}
	// Chromium refuses a picture of a page that is too high.
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Logf("%s: %v", name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}

// column is the text of a column of the first table that has it.
func column(t *testing.T, b *browser, head string) []string {
	t.Helper()
	return eval[[]string](t, b, fmt.Sprintf(`(() => {
  const th = [...document.querySelectorAll('section > .scroll th')].find((th) => th.textContent === %q);
  return [...th.closest('table').tBodies[0].rows].map((row) => row.cells[th.cellIndex].textContent);
})()`, head))
}

// press puts the focus on the button of a column, in the first table that has it, and presses a key.
func press(t *testing.T, b *browser, head, key string) {
	t.Helper()
	eval[bool](t, b, fmt.Sprintf(`[...document.querySelectorAll('section > .scroll th button')].find((b) => b.textContent === %q).focus(), true`, head))
	b.do(t, chromedp.KeyEvent(key))
}

// shown reads a duration as a report shows it, and a number.
func shown(t *testing.T, s string) float64 {
	t.Helper()
	s = strings.TrimPrefix(s, "≥ ")
	days := 0.0
	if before, after, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.Atoi(before)
		if err != nil {
			t.Fatal(err)
		}
		days, s = float64(n)*24*3600, after
	}
	if d, err := time.ParseDuration(s); err == nil {
		return days + d.Seconds()
	}
	v, err := strconv.ParseFloat(strings.Fields(s)[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A column sorts by its values and not by its letters, with the keyboard as with the mouse, and says how; what is not known is last.
func TestZooSort(t *testing.T) {
	b := newBrowser(t)
	b.open(t, Leakscan(growing()), Options{Top: 200})
	for _, head := range []string{"In state", "Idle", "FD"} {
		for _, tt := range []struct {
			key, sort string
			order     int
		}{{kb.Enter, "descending", -1}, {" ", "ascending", 1}} {
			press(t, b, head, tt.key)
			cells := column(t, b, head)
			if len(cells) != 60 {
				t.Fatalf("%d rows by %s, want 60", len(cells), head)
			}
			if !slices.IsSortedFunc(cells, func(x, y string) int { return tt.order * cmp.Compare(shown(t, x), shown(t, y)) }) {
				t.Errorf("%s by %s: %q", tt.sort, head, cells)
			}
			if got := eval[string](t, b, `document.activeElement.closest('th').getAttribute('aria-sort')`); got != tt.sort {
				t.Errorf("by %s: aria-sort is %q, want %s", head, got, tt.sort)
			}
			if n := eval[int](t, b, `document.activeElement.closest('table').querySelectorAll('[aria-sort]').length`); n != 1 {
				t.Errorf("%d columns say that the rows are in their order", n)
			}
		}
	}
	b.open(t, SeriesOf(overAWhile()), Options{})
	eval[bool](t, b, `[...document.querySelectorAll("th button")].find((b) => b.textContent === "Came").click(), true`)
	for i, cell := range column(t, b, "Came") {
		if known := cell != "-"; known != (i < 12) {
			t.Errorf("row %d is %q: what is not known has to be last", i, cell)
		}
	}
	b.open(t, Tcpstat(stat()), Options{})
	press(t, b, "Sockets", kb.Enter)
	if foot := eval[string](t, b, `document.querySelector('section > .scroll tfoot td').textContent`); foot != "total" {
		t.Errorf("the sum is %q", foot)
	}
	b.sound(t, "sorting")
}

// Rows are filtered as one types, and how many are left is told.
func TestZooFilter(t *testing.T) {
	b := newBrowser(t)
	b.open(t, LeakscanAll(crowd()), Options{})
	const status = `document.querySelector('.tools output').textContent`
	if got := eval[string](t, b, status); got != "315 rows" {
		t.Errorf("before: %q", got)
	}
	for _, tt := range []struct{ typed, want string }{{"WORKER-1", "111 of 315 rows match"}, {" 10100", "1 of 315 rows match"}, {"x", "0 of 315 rows match"}} {
		b.do(t, chromedp.SendKeys(chromedp.CSS(".tools input"), tt.typed))
		run(t, b, chromedp.Poll[bool](fmt.Sprintf("%s === %q", status, tt.want)))
	}
	if live := eval[string](t, b, `document.querySelector('.tools output').getAttribute('aria-live')`); live != "polite" {
		t.Errorf("aria-live is %q", live)
	}
	b.sound(t, "filtering")
}

// The way through a page by keyboard begins with the skip link, and each stop shows that it is one.
func TestZooKeyboard(t *testing.T) {
	b := newBrowser(t)
	b.screen(t, 1280)
	b.open(t, SeriesOf(overAWhile()), Options{Top: 40})
	b.do(t, chromedp.KeyEvent(kb.Tab))
	if got := eval[string](t, b, `document.activeElement.className`); got != "skip" {
		t.Errorf("the first stop is %q", got)
	}
	stops := map[string]bool{}
	for range 60 {
		b.do(t, chromedp.KeyEvent(kb.Tab))
		stops[eval[string](t, b, `(() => { const e = document.activeElement; return e.localName + (e.type ? ' ' + e.type : '') })()`)] = true
		if s := eval[string](t, b, `getComputedStyle(document.activeElement).outlineStyle`); s == "none" {
			t.Errorf("no focus is to be seen on %s", eval[string](t, b, `document.activeElement.outerHTML.slice(0, 100)`))
		}
	}
	for _, want := range []string{"a", "button button", "summary", "div", "input search"} {
		if !stops[want] {
			t.Errorf("the keyboard never comes to %s: %v", want, stops)
		}
	}
	const pressed = `document.querySelector('.legend button').getAttribute('aria-pressed')`
	eval[bool](t, b, `document.querySelector('.legend button').focus(), true`)
	b.do(t, chromedp.KeyEvent(" "))
	if got := eval[string](t, b, pressed); got != "false" {
		t.Errorf("the line is there yet: aria-pressed=%s", got)
	}
	before := eval[string](t, b, `getComputedStyle(document.body).backgroundColor`)
	eval[bool](t, b, `document.querySelector('.top .button').focus(), true`)
	b.do(t, chromedp.KeyEvent(kb.Enter))
	if after := eval[string](t, b, `getComputedStyle(document.body).backgroundColor`); after == before {
		t.Errorf("the button for light and dark left the page %s", after)
	}
	if n := eval[int](t, b, blank); n > 0 {
		t.Errorf("%d plots are blank in the other colours", n)
	}
	b.sound(t, "keyboard")
}

// faint lists text whose contrast with what is behind it is under 4.5, as WCAG counts it for AA.
const faint = `(() => {
  const parse = (c) => c.match(/[\d.]+/g).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
  const found = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.textContent.trim() || e.localName === 'script' || !e.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) found.add(e.localName + '.' + e.className + ': ' + ((a + 0.05) / (b + 0.05)).toFixed(2));
  }
  return [...found];
})()`

// lines of plots that cannot be told from what is behind them, 3 being enough for what is no text.
const dim3 = `(() => {
  const parse = (c) => c.match(/[\d.]+/g).map(Number);
  const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const card = light(parse(getComputedStyle(document.querySelector('section:not(.verdict)')).backgroundColor));
  return [...document.querySelectorAll('.legend svg > *')].map((e) => { const s = getComputedStyle(e); return s.stroke === 'none' ? s.fill : s.stroke; })
    .filter((c) => { const [a, b] = [light(parse(c)), card].sort((x, y) => y - x); return (a + 0.05) / (b + 0.05) < 3; });
})()`

func TestZooContrast(t *testing.T) {
	b := newBrowser(t)
	for name, v := range pages() {
		if name == "hostile" {
			continue // long, and as the others
		}
		for _, colors := range []string{"light", "dark"} {
			b.screen(t, 1280)
			b.media(t, "screen", colors)
			b.open(t, v, Options{Top: 5})
			if list := eval[[]string](t, b, faint); len(list) > 0 {
				t.Errorf("%s, %s: faint text: %q", name, colors, list)
			}
			if list := eval[[]string](t, b, dim3); len(list) > 0 {
				t.Errorf("%s, %s: faint lines: %q", name, colors, list)
			}
		}
	}
}

// On paper a page is black on white whatever the screen likes, all of it is open, and nothing is there to be pressed.
func TestZooPaper(t *testing.T) {
	b := newBrowser(t)
	b.screen(t, 720)
	b.media(t, "screen", "dark")
	b.open(t, SeriesOf(overAWhile()), Options{Top: 40})
	b.media(t, "print", "dark")
	run(t, b, chromedp.Poll[bool](`document.documentElement.dataset.paper === 'on'`))
	for what, want := range map[string]string{
		`getComputedStyle(document.body).backgroundColor`:                                                            "rgb(255, 255, 255)",
		`getComputedStyle(document.body).color`:                                                                      "rgb(0, 0, 0)",
		`String(document.querySelectorAll('details:not([open])').length)`:                                            "0",
		`String([...document.querySelectorAll('.button, .tools, .skip')].filter((e) => e.checkVisibility()).length)`: "0",
		`String(document.documentElement.scrollWidth <= 720)`:                                                        "true",
	} {
		if got := eval[string](t, b, what); got != want {
			t.Errorf("on paper %s is %s, want %s", what, got, want)
		}
	}
	b.shoot(t, "paper")
	if n := eval[int](t, b, blank); n > 0 {
		t.Errorf("%d plots are blank on paper", n)
	}
	b.media(t, "screen", "dark")
	run(t, b, chromedp.Poll[bool](`document.documentElement.dataset.paper !== 'on'`))
	if n := eval[int](t, b, `document.querySelectorAll('details[open]').length`); n > 0 {
		t.Errorf("%d tables stay open behind the printing", n)
	}
	if pdf := run(t, b, chromedp.PrintToPDF()); len(pdf) < 50_000 {
		t.Errorf("a PDF of %d bytes", len(pdf))
	} else if *shots != "" {
		if err := os.WriteFile(filepath.Join(*shots, "paper.pdf"), pdf, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.sound(t, "paper")
}

// Without a script all numbers are there as open tables, and nothing is that would do nothing.
func TestZooNoScript(t *testing.T) {
	b := newBrowser(t)
	call(t, b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.open(t, SeriesOf(overAWhile()), Options{Top: 40})
	details := run(t, b, chromedp.AttributesAll(chromedp.CSSAll("details")))
	if len(details) < 7 {
		t.Errorf("%d plots have their numbers", len(details))
	}
	for i, d := range details {
		if _, ok := d["open"]; !ok {
			t.Errorf("table %d is closed", i)
		}
	}
	for _, s := range []string{"button", "input", ".canvas canvas"} {
		if nodes := run(t, b, chromedp.Nodes(chromedp.CSSAll(s), chromedp.AtLeast(0))); len(nodes) > 0 {
			t.Errorf("%d of %s", len(nodes), s)
		}
	}
}

// A hundred thousand rows are a page that can be used: few of them are laid out at once, and all are filtered and sorted.
func TestZooManyRows(t *testing.T) {
	b := newBrowser(t)
	const n = 100_000
	b.open(t, Leakscan(manySamples(n)), Options{})
	const rows = `document.querySelector('section > .scroll tbody').rows.length`
	t.Logf("ms to load: %v", eval[float64](t, b, `performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd`))
	if got := eval[int](t, b, rows); got != 500 {
		t.Errorf("%d rows are laid out, want 500", got)
	}
	if got := eval[string](t, b, `document.querySelector('.tools output').textContent`); got != "100,000 rows, the first 500 are shown" {
		t.Errorf("what is there is told as %q", got)
	}
	b.do(t, chromedp.Click(chromedp.CSS(".scroll + .button")))
	if got := eval[int](t, b, rows); got != 1000 {
		t.Errorf("500 more make %d", got)
	}
	t.Logf("ms to sort: %v", eval[float64](t, b, `(() => { const b = document.querySelector('section > .scroll th button'), t = performance.now(); b.click(); return performance.now() - t })()`))
	if got := column(t, b, "FD")[0]; got != strconv.Itoa(2*n-1) {
		t.Errorf("the largest descriptor is %s", got)
	}
	b.do(t, chromedp.SendKeys(chromedp.CSS(".tools input"), "154321"))
	run(t, b, chromedp.Poll[bool](`document.querySelector('.tools output').textContent.startsWith('1 of 100,000')`))
	b.sound(t, "many rows")
}
