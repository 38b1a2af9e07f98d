package upstream

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// threat is what a malicious or broken registry may try, and what shows that it does
// not succeed: attacks of this package by their names, and tests, each with the folder
// that it is in, and a case of it where it has names.
type threat struct {
	row, what string
	attacks   []string
	tests     []string
}

func threats() []threat {
	return []threat{
		{"U-01", "equivocation", []string{
			"fork at the same length", "fork at the same length, other map root alone", "fork that is longer", "fork from the first record on",
			"fork at a shorter length", "other map root at a shorter length that was accepted", "other map root at a shorter length that was never accepted",
		}, []string{"upstream.TestForksAtEveryLength", "upstream.TestEveryByteOfAProof", "upstream/monitor.TestCrimes"}},
		{"U-02", "split view", nil, []string{
			"upstream/monitor.TestSplitView", "upstream.TestReplicaConforms", "cmd/entrepot.TestSplitView", "cmd/entrepot.TestSplitViewWithinAnInterval",
		}},
		{"U-03", "rollback", []string{"replay of an old checkpoint", "replay of an old signature of the same length", "rewind signed later"},
			[]string{"upstream.TestReplaysInRandomOrder", "upstream.TestHeadIsDurableBeforeItIsServed", "upstream.TestRestartKeepsHead"}},
		{"U-04", "inconsistent growth", []string{
			"fork that is longer and does not prove itself", "ledger too short", "empty ledger", "half a leaf", "one bit of a log id", "one bit of a record id",
			"leaves swapped", "leaf repeated",
		}, []string{"upstream/monitor.TestConsistencyProofs", "upstream/monitor.TestRefusedProofs", "upstream.TestEveryByteOfEveryAnswer"}},
		{"U-05", "freeze", nil, []string{"upstream.TestFrozen", "upstream.TestTimesNeverGoBack", "upstream.TestRefuseStale", "upstream.TestFreshness", "cmd/entrepot.TestStale"}},
		{"U-06", "fast-forward", []string{
			"checkpoint of no length", "checkpoint longer than the protocol allows", "checkpoint longer than we replicate",
			"checkpoint of a length that upstream does not know", "checkpoint from the future",
		}, []string{"upstream.TestClaimedLengths", "upstream.TestClientRefusesAnswers/length as text", "upstream.TestClientRefusesAnswers/negative length", "upstream.TestClientRefusesAnswers/length as fraction"}},
		{"U-07", "mix and match", []string{"log root of nothing", "map root of nothing", "map root of the checkpoint before"}, []string{"upstream.TestMixAndMatch"}},
		{"U-08", "bad signatures", []string{
			"checkpoint with somebody else's signature under the right key id", "checkpoint with the signature of another one",
			"checkpoint with a root of two bytes", "operator record with one bit changed", "operator record with another signature", "record signed by somebody else",
		}, []string{"warg.TestSignatureBits", "warg.TestVectorSignatures", "warg.TestBelowOrder", "upstream.TestClientRefusesAnswers/line break in the signature"}},
		{"U-09", "keys that may not sign", []string{
			"checkpoint signed by a stranger", "key that was revoked signs", "key that may only define namespaces signs", "key that is granted later signs an earlier length",
			"record with another key id",
		}, []string{"upstream.TestKeyRotation", "upstream.TestSchedules", "upstream.TestSchedulesOfAReplica", "warg.TestLogModel"}},
		{"U-10", "another operator log at first contact", []string{
			"operator record left out", "operator record at another index", "operator record beyond the checkpoint", "another valid operator record instead",
		}, []string{"upstream.TestPins", "cmd/entrepot.TestPinIsKept", "upstream/archive.TestImportNeedsAPin"}},
		{"U-11", "namespaces redirected", nil, []string{"upstream.TestReplicaNameOf", "upstream.TestReplicaNeverAsksAboutUnknownLogs", "proxy.TestHints"}},
		{"U-12", "wrong content", []string{
			"one bit of the content", "content cut short", "no content", "content with something behind it", "content of another release",
		}, []string{
			"upstream.TestClientContent/wrong bytes, then right ones", "upstream.TestClientContent/longer than it is",
			"upstream.TestClientContent/announced with the wrong size", "cmd/entrepot.TestWrongContent",
		}},
		{"U-13", "digests that are none", nil, []string{"warg.TestDigestLength", "warg.TestIDText", "warg.TestHashLabels"}},
		{"U-14", "endless data", []string{"operator log that never ends", "records that go round in a circle"}, []string{
			"upstream.TestClientRefusesAnswers/long", "upstream.TestClientRefusesAnswers/announced long", "upstream.TestClientRefusesAnswers/endless",
			"upstream.TestClientRefusesAnswers/deep", "upstream.TestClientContent/larger than allowed", "upstream.TestClientContent/announced too large",
			"upstream.TestClientErrorAnswers/endless error", "upstream.TestClientLedgerPages/huge page",
		}},
		{"U-15", "slow bodies", nil, []string{"upstream.TestClientGivesUpOnSlowBodies", "upstream.TestHangingUpstream", "upstream.TestUploadGivesUpWhenNobodyTakesIt"}},
		{"U-16", "addresses inside", nil, []string{
			"upstream.TestReachOf", "upstream.TestCheckURL", "upstream.TestCheckDial", "upstream.TestClientPrivateAddresses", "upstream.TestForeignNamesAreJudgedWhenDialed",
			"upstream.TestClientContent/redirected to the metadata of a cloud machine", "upstream.TestClientContent/redirected to a file",
			"upstream.TestClientContent/redirected in a circle", "upstream.TestClientContent/on a private network that cannot be meant",
			"upstream.TestClientContent/with a user", "upstream.TestClientContent/relative",
			"upstream.TestClientRefusesAnswers/redirect that keeps the method", "upstream.TestClientRefusesAnswers/redirect", "upstream.TestClientLedgerPages/link-local",
		}},
		{"U-17", "credentials", nil, []string{"upstream.TestClientCredentials", "upstream.TestCredentialsStayAtTheirOrigin", "cmd/entrepot.TestTokenStaysHere"}},
		{"U-18", "encoded bodies", nil, []string{"upstream.TestClientRefusesAnswers/gzip", "upstream.TestClientRefusesAnswers/brotli", "upstream.TestClientContent/encoded"}},
		{"U-19", "framing", nil, []string{"upstream.TestClientFraming"}},
		{"U-20", "hostile names", []string{"name of another package"}, []string{"warg.TestVectorName", "warg.TestNameGrammar", "upstream.TestHostileNamesAreRefused", "upstream.TestReplicaNameOf"}},
		{"U-21", "what is taken back", nil, []string{"upstream.TestTakenBack"}},
		{"U-22", "down and flapping", nil, []string{"upstream.TestUpstreamDown", "upstream.TestSpoiledLines", "upstream.TestFlappingLine", "upstream.TestStaleIfError", "upstream.TestRetryAfterIsKept", "upstream.TestBrokenContentHost", "upstream.TestNoRetryStorm", "upstream.TestFlappingUpstreamHasABudget", "upstream.TestTimeoutIsToldApart"}},
		{"U-23", "lies about absence", []string{
			"record left out", "no records", "first record left out", "records swapped", "record of another package", "one bit of a record",
			"record at another index", "log denied that is in the ledger", "name denied that is in the ledger",
		}, []string{"upstream.TestDeniedContent", "upstream.TestAbsenceIsForgotten", "upstream.TestForgottenRecordsAreNotAbsent", "upstream.TestLiesAboutRecords"}},
	}
}

// leastAttacks is how many attacks with a name there must be: those of TestAttacks and
// the cases of other tests that threats names.
const leastAttacks = 60

// TestThreatsAreCovered: every row has attacks or tests that exist, and every attack
// belongs to a row.
func TestThreatsAreCovered(t *testing.T) {
	known := map[string]bool{}
	for _, a := range attacks() {
		known[a.name] = true
	}
	named := len(known)
	tests := map[string]map[string]bool{} // of a folder: tests, and all texts in them
	for i, th := range threats() {
		if want := fmt.Sprintf("U-%02d", i+1); th.row != want {
			t.Errorf("row %s stands where %s should", th.row, want)
		}
		if len(th.tests) == 0 {
			t.Errorf("%s: no test", th.row)
		}
		for _, name := range th.attacks {
			if !known[name] {
				t.Errorf("%s: there is no attack %q, or it stands in two rows", th.row, name)
			}
			delete(known, name)
		}
		for _, name := range th.tests {
			folder, test, _ := strings.Cut(name, ".")
			test, part, isCase := strings.Cut(test, "/")
			if tests[folder] == nil {
				tests[folder] = testsIn(t, folder)
			}
			if !tests[folder][test] || isCase && !tests[folder][test+"/"+part] {
				t.Errorf("%s: there is no test %s", th.row, name)
			}
			if isCase {
				named++
			}
		}
	}
	const rows = 23
	if n := len(threats()); n != rows {
		t.Errorf("%d rows, want %d", n, rows)
	}
	for name := range known {
		t.Errorf("attack %q belongs to no row", name)
	}
	if named < leastAttacks {
		t.Errorf("%d attacks have names, want %d", named, leastAttacks)
	}
	t.Logf("%d attacks with a name, %d rows", named, rows)
}

// testsIn returns the tests in a folder of the repository, and after each its string
// literals, which are the names of its cases.
func testsIn(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in %s: %v", folder, err)
	}
	found := map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			test, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(test.Name.Name, "Test") {
				continue
			}
			found[test.Name.Name] = true
			ast.Inspect(test, func(n ast.Node) bool {
				if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING {
					if s, err := strconv.Unquote(text.Value); err == nil {
						found[test.Name.Name+"/"+s] = true
					}
				}
				return true
			})
		}
	}
	return found
}

// lengthsOfForks is how long the longest fork's common part is; FORK_LENGTHS makes it
// longer.
func lengthsOfForks(t *testing.T) int {
	t.Helper()
	n := 40
	if text := os.Getenv("FORK_LENGTHS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestForksAtEveryLength: wherever two histories part, before, at, or behind the end of
// what was verified, the second is refused with a proof, and the first still served.
func TestForksAtEveryLength(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	stages := []*wargtest.Memory{w.up.Clone()}
	for i := range lengthsOfForks(t) {
		w.publish("test:a", fmt.Sprintf("1.%d.0", i+1))
		stages = append(stages, w.up.Clone())
	}
	w.replica.Close()
	for i := range len(stages) - 2 {
		fork := stages[i].Clone()
		for j := range 1 + i%4 { // shorter, as long, and longer than what is verified
			publishTo(t, fork, map[string]*wargtest.Package{}, fmt.Sprintf("test:evil-%c", 'a'+j), "6.6.6")
		}
		r := newWorldOf(t, stages[i+2])
		r.refresh()
		before := r.replica.view.Load()
		r.tap.Transport = Adapt(fork)
		err := r.replica.Refresh(t.Context())
		if ClassOf(err) != ClassEquivocation && ClassOf(err) != ClassRewind {
			t.Fatalf("parting at length %d: %v", before.cp.LogLength-2, err)
		}
		if err := checkEvidence(EvidenceOf(err), wargtest.Alice().Public()); err != nil {
			t.Errorf("parting at length %d: evidence: %v", before.cp.LogLength-2, err)
		}
		if r.replica.view.Load() != before || r.replica.Status().Quarantine == nil {
			t.Errorf("parting at length %d: %+v", before.cp.LogLength-2, r.replica.Status())
		}
		r.replica.Close()
	}
}

// TestReplaysInRandomOrder: whatever old checkpoints are shown in whatever order, with
// restarts between them, the length that is served never decreases.
func TestReplaysInRandomOrder(t *testing.T) {
	for seed := range uint64(10) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		w := newWorld(t)
		var shown []warg.View
		served := uint64(0)
		for range 40 {
			switch rnd.IntN(4) {
			case 0:
				w.publish("test:a", fmt.Sprintf("1.%d.0", len(shown)))
			case 1:
				w.restart()
			}
			newest, err := w.up.Checkpoint(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			shown = append(shown, newest)
			pick := shown[rnd.IntN(len(shown))]
			w.tap.checkpoint = func(warg.View) warg.View { return pick }
			err = w.replica.Refresh(t.Context())
			if now := w.length(); now < served {
				t.Fatalf("seed %d: length %d is served, %d was (%v)", seed, now, served, err)
			}
			if q := w.replica.Status().Quarantine; q != nil {
				t.Fatalf("seed %d: a replay is no crime: %+v", seed, q)
			}
			served = w.length()
		}
		w.replica.Close()
	}
}

// TestClaimedLengths: none of these lengths can be had, so none is believed, and the
// true one is afterwards.
func TestClaimedLengths(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	for _, length := range []uint64{
		0, 3, 1000, 1<<31 - 1, 1 << 31, 1<<31 + 1, 1<<32 - 1, 1 << 32, 1<<32 + 1, 1<<53 - 1, 1 << 53, 1<<53 + 1,
		1<<63 - 1, 1 << 63, 1<<63 + 1, 1<<64 - 1,
	} {
		w.tap.checkpoint = func(v warg.View) warg.View {
			return resigned(v, wargtest.Alice(), func(c *warg.Checkpoint) { c.LogLength = length })
		}
		err := w.replica.Refresh(t.Context())
		if class := ClassOf(err); class != ClassClaims && class != ClassEndless && class != ClassAbsence && class != ClassLedger {
			t.Errorf("length %d: %v", length, err)
		}
		if w.length() != 2 || w.replica.Status().Quarantine != nil {
			t.Fatalf("length %d: %+v", length, w.replica.Status())
		}
		w.tap.checkpoint = nil
		w.refresh()
	}
}

// TestMixAndMatch: of all checkpoints made of the lengths, log roots and map roots of
// three true ones, only the true ones are believed.
func TestMixAndMatch(t *testing.T) {
	w := newWorld(t)
	var true3 []warg.Checkpoint
	for i := range 3 {
		w.publish("test:a", fmt.Sprintf("1.%d.0", i))
		v, err := w.up.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		true3 = append(true3, v.Checkpoint)
	}
	w.replica.Close()
	for n := range 27 {
		length, log, maps := n%3, n/3%3, n/9
		c := newWorldOf(t, w.up)
		c.tap.checkpoint = func(v warg.View) warg.View {
			return resigned(v, wargtest.Alice(), func(cp *warg.Checkpoint) {
				*cp = true3[length]
				cp.LogRoot, cp.MapRoot = true3[log].LogRoot, true3[maps].MapRoot
			})
		}
		err := c.replica.Refresh(t.Context())
		honest := length == log && log == maps
		if honest != (err == nil) || !honest && ClassOf(err) != ClassRoots || c.length() != 0 && !honest {
			t.Errorf("length of %d, log of %d, map of %d: %v, length %d", length, log, maps, err, c.length())
		}
		c.replica.Close()
	}
}

// TestTakenBack: content that a registry does not give any more, of a release that was
// yanked, is served as before; the yank is there.
func TestTakenBack(t *testing.T) {
	w := newWorld(t)
	content := w.publish("test:a", "1.0.0")
	w.refresh()
	if _, err := w.replica.Stat(t.Context(), warg.Sum(content)); err != nil {
		t.Fatal(err)
	}
	p := w.pkgs["test:a"]
	submit(t, w.up, p.Request(p.Next(wargtest.Bob(), wargtest.Yank("1.0.0"))), nil)
	w.tap.before = func(_ context.Context, call string) error {
		if call == "content" {
			return warg.NotFound(warg.KindContentNotFound, warg.Sum(content))
		}
		return nil
	}
	w.refresh()
	records, err := w.fetch("test:a")
	if err != nil || len(records) != 2 {
		t.Errorf("%d records, %v", len(records), err)
	}
	f, err := w.replica.Open(t.Context(), warg.Sum(content))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := w.replica.Open(t.Context(), warg.Sum([]byte("other"))); !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
		t.Errorf("what was never here: %v", err)
	}
}
