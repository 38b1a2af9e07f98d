package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// threat is what a hostile client, or too many of them, may try, and what shows that it
// does not succeed: tests, each behind the folder that it is in, or a suite of the Makefile.
type threat struct {
	row, what string
	shownBy   []string
}

// clientThreats are those that come in at our door. What comes from other registries stands
// in upstream; C-17 to C-20 and from C-24 on are about things that this program has not
// (OCI, tokens, accounts), but for C-18 and C-25.
func clientThreats() []threat {
	return []threat{
		{"C-01", "malformed JSON", []string{"warg/api.TestC01Bombs", "warg/api.TestRefusedRequests", "warg/api.FuzzRequests", "warg/internal/strictjson.FuzzAgainstStandard", "proxy.TestBodies"}},
		{"C-02", "odd protobuf", []string{"authority.TestC02SignedBytes", "warg/pkglog.FuzzDecode", "warg/oplog.FuzzDecode", "warg/internal/pb.FuzzReader", "warg.FuzzEnvelopeProto"}},
		{"C-03", "huge heads, targets and bodies", []string{"proxy.TestHeads", "proxy.TestUploadsThatAreRefused", "proxy.TestAnnouncedBodiesTakeNoMemory", "proxy.TestManyFieldsCostLittle",
			"proxy.TestRefusedHeadsAreForgotten", "e2e.TestManyBodies"}},
		{"C-04", "request smuggling", []string{"proxy.TestDesync", "proxy.TestDesyncBehindFronts", "proxy.TestGateTrustsNobody", "proxy.TestCutBodies", "proxy.FuzzGate", "proxy.FuzzServer"}},
		{"C-05", "slow and hoarding connections", []string{"proxy.TestSlowHeads", "proxy.TestPacedReads", "proxy.TestSlowReadersAreCut", "proxy.TestListenerCaps", "proxy.TestPeerOf",
			"proxy.TestUnfilledBodiesGiveWay", "proxy.TestBudgetIsShared", "proxy.TestDeadlinesAreSpread", "e2e.TestHostile", "e2e.TestSlowHTTP"}},
		{"C-06", "paths that climb", []string{"proxy.TestC06Traversal", "proxy.FuzzPath", "proxy.TestPaths", "warg/api.FuzzSegments"}},
		{"C-07", "abuse of Warg-Registry", []string{"proxy.TestC07RegistryHeader", "proxy.TestRegistryHeader", "proxy.TestSelect", "proxy.TestNoFallThrough", "warg/api.FuzzDomain"}},
		{"C-08", "poisoned caches", []string{"proxy.TestC08CacheKeys", "proxy.TestConditions"}},
		{"C-09", "confused names", []string{"authority.TestC09NameConfusion", "authority.TestSameBytesInTwoLogs", "warg.FuzzPackageName"}},
		{"C-10", "keys that may not", []string{"authority.TestC10KeyStates", "authority.TestPolicy"}},
		{"C-11", "replays", []string{"authority.TestC11Replay", "cmd/entrepot.TestAPIAgainstModel"}},
		{"C-12", "times", []string{"authority.TestC12Times", "warg.FuzzTimestamp"}},
		{"C-13", "conflicts at one moment", []string{"authority.TestConcurrentConflicts", "authority.TestSameRecordConcurrently", "authority.TestLogIsLinearizable"}},
		{"C-14", "one name in two registries", []string{"cmd/entrepot.TestC14DependencyConfusion", "authority.TestLogIsOursBeforeItIsPublished", "upstream.TestReplicaNeverAsksAboutUnknownLogs",
			"authority.TestAdoptContradictions"}},
		{"C-15", "records that wait for ever", []string{"authority.TestC15Floods", "authority.TestQuotas", "authority.TestExpiry", "authority.TestTooLargeContent"}},
		{"C-16", "bombs of WebAssembly", []string{"authority/wasm.TestC16Bombs", "authority/wasm.FuzzChecker"}},
		{"C-18", "a way around", []string{"proxy.TestC18RoutesAreDecided", "cmd/entrepot.TestRoutesBehindFences"}},
		{"C-21", "proofs that cost", []string{"authority.TestC21ProofBounds", "proxy.TestL07CostClasses"}},
		{"C-22", "series and lines of metrics and logs", []string{"proxy.TestC22Series", "proxy.TestLogKeepsSecrets", "proxy.TestQuietPath"}},
		{"C-23", "what is for the operator", []string{"proxy.TestC23Exposure", "proxy.TestAdminKeepsWebPagesOut", "proxy.TestAdminListenerMustBePrivate", "e2e.TestListeningPorts"}},
		{"C-25", "archives that lie", []string{"upstream/archive.TestEveryFlippedByte", "upstream/archive.TestHostileSizes"}},
		{"L-01", "everybody at one moment", []string{"upstream.TestL01Herd", "upstream.TestReaderThatLeavesTakesNobodyWithIt"}},
		{"L-02", "ten times what can be published", []string{"authority.TestL02Overload", "authority.TestQuotas", "authority.TestC15Floods"}},
		{"L-03", "slow readers of large content", []string{"proxy.TestLargeFilesReachSendfile", "proxy.TestUnreadContentIsNotBuffered", "e2e.TestSlowReaders"}},
		{"L-04", "no descriptors left", []string{"proxy.TestListenerSurvivesFailingAccepts", "proxy.TestServerOutlivesExhaustion", "proxy.TestListenerKeepsDescriptorsInReserve", "e2e.TestDescriptors", "e2e.TestTooFewDescriptors", "make hostile"}},
		{"L-05", "a cap on memory", []string{"proxy.TestBodyMemory", "e2e.TestHostile", "e2e.TestManyBodies"}},
		{"L-06", "a database that stalls", []string{"authority.TestL06StalledIndex", "internal/kv.TestBehind"}},
		{"L-07", "costly questions", []string{"proxy.TestL07CostClasses", "proxy.TestLane"}},
		{"L-08", "floods of lines", []string{"proxy.TestL08LogRate", "proxy.TestLineQuota", "proxy.TestListenerLogsFailuresRarely"}},
		{"L-09", "storms of our own", []string{"upstream.TestNoRetryStorm", "upstream.TestFlappingUpstreamHasABudget", "upstream.TestPausesAreDrawn", "upstream.TestRetryBudget"}},
		{"L-10", "leaks", []string{"proxy.TestL10Goroutines", "proxy.TestListenerForgetsClosedConnections"}},
	}
}

// TestClientThreats: every row is shown by something that exists.
func TestClientThreats(t *testing.T) {
	tests := testsOf(t)
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, th := range clientThreats() {
		if rows[th.row] {
			t.Errorf("%s stands there twice", th.row)
		}
		rows[th.row] = true
		if len(th.shownBy) == 0 || th.what == "" {
			t.Errorf("%s: nothing shows it", th.row)
		}
		for _, name := range th.shownBy {
			if suite, ok := strings.CutPrefix(name, "make "); ok {
				if !strings.Contains(string(makefile), "\n"+suite+":") {
					t.Errorf("%s: there is no `%s`", th.row, name)
				}
				continue
			}
			if folder, test, _ := strings.Cut(name, "."); !tests[folder][test] {
				t.Errorf("%s: there is no %s in %s", th.row, test, folder)
			}
		}
	}
	want := []string{"C-18", "C-25"}
	for i := range 16 {
		want = append(want, fmt.Sprintf("C-%02d", i+1))
	}
	for i := range 3 {
		want = append(want, fmt.Sprintf("C-%02d", i+21))
	}
	for i := range 10 {
		want = append(want, fmt.Sprintf("L-%02d", i+1))
	}
	for _, row := range want {
		if !rows[row] {
			t.Errorf("%s has no row", row)
		}
	}
}
