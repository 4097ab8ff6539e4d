package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"github.com/sockleak/sockleak/internal/raced"
	"html"
	"regexp"
	"strings"
	"testing"
)

var (
	htmlTag = regexp.MustCompile(`<[^>]*>`)
	// ownTags are those of the template, with the attributes that it gives them. What stands in quotes is escaped.
	ownTags = regexp.MustCompile(`^<(!doctype html|html lang="en"|meta [a-z-]+="[^"<>]*"( content="[^"<>]*")?|` +
		`/?(html|head|title|style|script|body|main|header|h1|h2|h3|nav|ul|li|ol|p|dl|dt|dd|pre|code|table|thead|tbody|tfoot|tr|th|td|section|div|span|a)|` +
		`/?(figure|figcaption|details|summary)|details open|a class="skip" href="#main"|header class="top"|nav aria-label="(Parts|Findings)"|main id="main"|` +
		`h2 class="part" id="part-\d+"|p class="soft"|section class="(plain|good|note|warning|alarm)( brief)?( verdict)?"( id="section-\d+")?|` +
		`li class="(plain|good|note|warning|alarm)( brief)?"|span class="(mark|sr)"|d[td] class="do"|div class="plots"|` +
		`div class="canvas" role="img" aria-label="[^"<>]*" data-plot="\d+"|div class="scroll( long)?" role="region" tabindex="0" aria-label="[^"<>]*"|` +
		`th scope="col"( class="(n|wrap)")?|td( class="(n|wrap)")?( data-v="-?[\d.]+")?|a href="#(part|section)-\d+"|script type="application/json" id="plots")>$`)
	pageAsset = regexp.MustCompile(`(?s)<style>(.*?)</style>\n<script>(.*?)</script>`)
	pageData  = regexp.MustCompile(`(?s)<script type="application/json" id="plots">(.*?)</script>`)
	assetHash = regexp.MustCompile(`sha256-.*?=&#39;`)
)

// bare is a page without style, script and their names in the policy, which stand in files of their own.
func bare(page []byte) []byte {
	page = pageAsset.ReplaceAll(page, []byte("<style></style>\n<script></script>"))
	return assetHash.ReplaceAll(page, []byte("sha256-…&#39;"))
}

// Whatever a process calls itself, a page has the tags of the template alone, and text; its script is ours, and so is the shape of
// its data.
func TestHostileHTML(t *testing.T) {
	if raced.On {
		t.Skip("nothing here is concurrent, and the race detector makes it several times slower")
	}
	for name, v := range hostileValues() {
		page := string(bare(write(t, "html", v, Options{})))
		for _, tag := range htmlTag.FindAllString(page, -1) {
			if !ownTags.MatchString(tag) {
				t.Errorf("%s: the tag %q", name, tag)
			}
		}
		if data := pageData.FindStringSubmatch(page); data != nil {
			if !json.Valid([]byte(data[1])) || strings.ContainsAny(data[1], "<>&\u2028\u2029") {
				t.Errorf("%s: the data of the plots is not JSON that a page may have", name)
			}
		}
		body := htmlTag.ReplaceAllString(pageData.ReplaceAllString(page[strings.Index(page, "</style>"):], ""), "")
		if i := strings.IndexAny(body, `<>"'`); i >= 0 {
			t.Errorf("%s: %q is not escaped: %q", name, body[i], body[max(0, i-20):min(len(body), i+20)])
		}
	}
	page := string(write(t, "html", Leakscan(hostileResult()), Options{}))
	if want := "&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;["; !strings.Contains(page, want) {
		t.Errorf("no process is shown as %s", want)
	}
}

// A page asks nobody for anything: it can be sent, and kept. A browser runs its own script and style by their hashes, and nothing else.
func TestPageStandsAlone(t *testing.T) {
	for _, g := range goldens() {
		page := write(t, "html", g.value, g.options)
		for _, tag := range htmlTag.FindAllString(string(bare(page)), -1) {
			for _, word := range []string{"http:", "https:", "//", "src=", "url(", "@import", "<link", "<img", "javascript:", " on", "style="} {
				if strings.Contains(tag, word) && !strings.Contains(tag, "aria-label") {
					t.Errorf("%s: %q in %s", g.name, word, tag)
				}
			}
		}
		asset := pageAsset.FindSubmatch(page)
		if asset == nil {
			t.Fatalf("%s: no style and script", g.name)
		}
		for _, word := range []string{"url(", "@import"} {
			if bytes.Contains(asset[1], []byte(word)) {
				t.Errorf("%s: %q in the style", g.name, word)
			}
		}
		want := "default-src 'none'; script-src " + hash(asset[2]) + "; style-src " + hash(asset[1]) + "; base-uri 'none'; form-action 'none'"
		if !strings.Contains(html.UnescapeString(string(page)), `<meta http-equiv="Content-Security-Policy" content="`+want+`">`) {
			t.Errorf("%s: the policy is not %s", g.name, want)
		}
		if plots := bytes.Contains(page, []byte(`class="canvas"`)); plots != bytes.Contains(page, []byte("The MIT License")) {
			t.Errorf("%s: plots %v, and the licence of what draws them is there or not the other way", g.name, plots)
		}
	}
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// A page shows what the table shows, though the lines of the one are broken elsewhere.
func TestPageHasTheTable(t *testing.T) {
	label := regexp.MustCompile(`aria-label="([^"]*)"`)
	plain := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&", "&#39;", "'", "&#34;", `"`, "&#43;", "+")
	for _, g := range goldens() {
		o := g.options
		o.Color, o.Width = false, 0
		body := string(bare(write(t, "html", g.value, o)))
		body = plain.Replace(htmlTag.ReplaceAllString(label.ReplaceAllString(body, ">$1<"), " "))
		have := map[string]bool{"Course": true} // which a plot is in place of
		for _, word := range strings.Fields(body) {
			have[strings.Trim(word, ";.,")] = true
		}
		for _, word := range strings.Fields(string(write(t, "table", g.value, o))) {
			if marks := "·$──"; !have[strings.Trim(word, ";.,")] && !strings.Contains(marks, word) && strings.Trim(word, "▁▂▃▄▅▆▇█·") != "" {
				t.Errorf("%s: %q is in the table and not on the page", g.name, word)
			}
		}
	}
}
