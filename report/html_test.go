package report

import (
	"regexp"
	"strings"
	"testing"
)

var (
	htmlTag = regexp.MustCompile(`<[^>]*>`)
	// ownTags are those of the template, with the attributes that it gives them.
	ownTags = regexp.MustCompile(`^<(!doctype html|html lang="en"|meta [a-z-]+="[^"<>]*"( content="[^"<>]*")?|` +
		`/?(html|head|title|style|body|main|header|h1|h2|nav|ul|li|ol|p|dl|dt|dd|pre|code|table|thead|tbody|tr|th|td|section|div|span|a)|` +
		`h2 class="part" id="part-\d+"|p class="soft"|(section|li) class="(plain|good|note|warning|alarm)( brief)?( verdict)?"|span class="mark"|` +
		`div class="scroll"|t[hd] class="(n|wrap)"|a href="#part-\d+")>$`)
)

// Whatever a process calls itself, a page has the tags of the template alone, and text.
func TestHostileHTML(t *testing.T) {
	for name, v := range hostileValues() {
		page := string(write(t, "html", v, Options{}))
		for _, tag := range htmlTag.FindAllString(page, -1) {
			if !ownTags.MatchString(tag) {
				t.Errorf("%s: the tag %q", name, tag)
			}
		}
		body := htmlTag.ReplaceAllString(page[strings.Index(page, "</style>"):], "")
		if i := strings.IndexAny(body, `<>"'`); i >= 0 {
			t.Errorf("%s: %q is not escaped: %q", name, body[i], body[max(0, i-20):min(len(body), i+20)])
		}
	}
	page := string(write(t, "html", Leakscan(hostileResult()), Options{}))
	if want := "&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;["; !strings.Contains(page, want) {
		t.Errorf("no process is shown as %s", want)
	}
}

// A page asks nobody for anything: it can be sent, and kept.
func TestPageStandsAlone(t *testing.T) {
	for _, g := range goldens() {
		page := string(write(t, "html", g.value, g.options))
		for _, word := range []string{"http:", "https:", "//", "src=", "url(", "@import", "<link", "<script", "<img", "javascript:", " on"} {
			head, _, _ := strings.Cut(page, "</style>")
			if strings.Contains(head, word) && word != " on" {
				t.Errorf("%s: %q in the head", g.name, word)
			}
			for _, tag := range htmlTag.FindAllString(page, -1) {
				if strings.Contains(tag, word) {
					t.Errorf("%s: %q in %s", g.name, word, tag)
				}
			}
		}
		if !strings.Contains(page, `content="default-src 'none'; style-src 'unsafe-inline'; `) {
			t.Errorf("%s: a browser may load something", g.name)
		}
	}
}

// A page shows what the table shows, though the lines of the one are broken elsewhere.
func TestPageHasTheTable(t *testing.T) {
	plain := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&", "&#39;", "'", "&#34;", `"`, "&#43;", "+")
	for _, g := range goldens() {
		o := g.options
		o.Color, o.Width = false, 0
		body := string(write(t, "html", g.value, o))
		body = plain.Replace(htmlTag.ReplaceAllString(body[strings.Index(body, "</style>"):], " "))
		have := map[string]bool{}
		for _, word := range strings.Fields(body) {
			have[word] = true
		}
		for _, word := range strings.Fields(string(write(t, "table", g.value, o))) {
			if marks := "·$──"; !have[word] && !strings.Contains(marks, word) {
				t.Errorf("%s: %q is in the table and not on the page", g.name, word)
			}
		}
	}
}
