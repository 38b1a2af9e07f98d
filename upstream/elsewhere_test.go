package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// TestBrokenContentHost: another host where a registry has its content, and that fails
// in any way, keeps nobody from asking the registry itself; and it is not asked for
// every content anew. When it is back it is used again.
func TestBrokenContentHost(t *testing.T) {
	overloaded := func(_ api.Op, w http.ResponseWriter, r *http.Request) bool {
		if r.Host == "cdn.example" {
			http.Error(w, "not now", http.StatusServiceUnavailable)
		}
		return r.Host == "cdn.example"
	}
	cutShort := func(_ api.Op, w http.ResponseWriter, r *http.Request) bool {
		if r.Host != "cdn.example" {
			return false
		}
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, "this much, and no more")
		panic(http.ErrAbortHandler)
	}
	for _, k := range []struct {
		name   string
		fault  fault
		attack func(api.Op, http.ResponseWriter, *http.Request) bool
		kind   warg.Kind
	}{
		{name: "nobody listens", fault: fault{refuse: true}, kind: warg.KindUnavailable},
		{name: "it hangs up", fault: fault{reset: 1}, kind: warg.KindUnavailable},
		{name: "it breaks off in the body", attack: cutShort, kind: warg.KindUnavailable},
		{name: "it does not answer", fault: fault{blackhole: true}, kind: warg.KindUpstreamTimeout},
		{name: "503", attack: overloaded, kind: warg.KindUnavailable},
	} {
		for how, lead := range map[string]func(w *wired){"named": nameCDN, "redirected": redirectToCDN} {
			t.Run(k.name+", "+how, func(t *testing.T) {
				onLine(t, func(t *testing.T, w *wired) {
					for i := range 5 {
						w.publish("test:a", fmt.Sprintf("1.%d.0", i))
					}
					w.refresh()
					lead(w)
					w.served.setAttack(k.attack)
					w.line.spoil("cdn.example", k.fault)
					err := w.content("test:a", "1.0.0")
					if e, ok := asWarg(err); !ok || e.Kind != k.kind || e.RetryAfter == 0 && k.kind == warg.KindUnavailable {
						t.Errorf("content from a broken host: %v", err)
					}
					dials := w.line.dialed("cdn.example")
					for i := range 4 {
						if err := w.content("test:a", fmt.Sprintf("1.%d.0", i+1)); err == nil {
							t.Error("content from a broken host")
						}
					}
					if more := w.line.dialed("cdn.example") - dials; more > 1 {
						t.Errorf("dialed %d times more for four contents", more)
					}
					if s := w.replica.Status(); s.Circuit != CircuitClosed {
						t.Errorf("the registry's own circuit is %s", s.Circuit)
					}
					w.publish("test:b", "1.0.0")
					w.refresh()
					w.reads("test:b", 1)

					w.served.setAttack(nil)
					w.line.spoil("cdn.example", fault{})
					time.Sleep(probeWait)
					for i := range 5 {
						if err := w.content("test:a", fmt.Sprintf("1.%d.0", i)); err != nil {
							t.Errorf("the host is back: %v", err)
						}
					}
				})
			})
		}
	}
}

// nameCDN has the registry name another host for its content.
func nameCDN(w *wired) {
	w.served.contentURL = func(d warg.Digest) []api.Source {
		return []api.Source{{URL: "http://cdn.example/" + api.PathContent(d), Size: -1}}
	}
}

// redirectToCDN has the registry redirect to another host for its content.
func redirectToCDN(w *wired) {
	w.served.mux.HandleFunc("/moved/{file}", func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "http://cdn.example/content/"+r.PathValue("file"), http.StatusFound)
	})
	w.served.contentURL = func(d warg.Digest) []api.Source {
		return []api.Source{{URL: "http://up.example/moved/" + api.PathContent(d)[len("content/"):], Size: -1}}
	}
}

// TestBrokenRegistryStillCounts: content at the registry's own address opens its circuit
// as before.
func TestBrokenRegistryStillCounts(t *testing.T) {
	onLine(t, func(t *testing.T, w *wired) {
		w.publish("test:a", "1.0.0")
		w.refresh()
		w.line.spoil("up.example", fault{reset: 1})
		if err := w.content("test:a", "1.0.0"); err == nil || elsewhere(err) {
			t.Errorf("content: %v", err)
		}
		if s := w.replica.Status(); s.Circuit != CircuitOpen {
			t.Errorf("the circuit is %s", s.Circuit)
		}
	})
}

// TestHosts: what is remembered of other hosts is bounded; what one does not give is not
// held against it; and one that asks for a pause has it.
func TestHosts(t *testing.T) {
	h := new(hosts)
	now := time.Unix(1_700_000_000, 0)
	down := &warg.Error{Kind: warg.KindUnavailable, Message: "down"}
	at := func(i int) *url.URL { return &url.URL{Scheme: "https", Host: fmt.Sprintf("h%d.example", i)} }
	for i := range 10 * maxHosts {
		h.report(at(i), down, now)
	}
	last := at(10*maxHosts - 1)
	if err := h.pass(last, now); err == nil || !elsewhere(err) || len(h.m) > maxHosts {
		t.Errorf("%v, %d hosts are remembered", err, len(h.m))
	}
	h.report(last, errors.New("the reader left"), now)
	if h.pass(last, now) == nil {
		t.Error("a reader who left says that the host is well")
	}
	now = now.Add(firstBackoff)
	if err := h.pass(last, now); err != nil {
		t.Errorf("nobody may find out: %v", err)
	}
	h.report(last, warg.Errorf(warg.KindForbidden, "not this one"), now)
	if err := h.pass(last, now); err != nil {
		t.Errorf("after an answer: %v", err)
	}
	h.report(last, &askedPause{warg.Errorf(warg.KindTooMany, "slow down"), time.Minute}, now)
	if now = now.Add(time.Minute - 1); h.pass(last, now) == nil {
		t.Error("the pause is not kept")
	}
}
