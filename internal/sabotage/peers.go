package main

// peerMutants break what two installations tell each other, and how one brings the
// other back.
var peerMutants = []mutant{
	{
		name: "peer that does not answer asked every second", promise: "G9",
		file: "upstream/peering/pause.go",
		old:  "min(2*b.pause, longestPause)", new: "min(b.pause, longestPause)",
		pkg: "upstream/peering", test: "TestAskedUntilItAnswers",
	},
	{
		name: "peers asked in step", promise: "G9",
		file: "upstream/peering/pause.go",
		old:  "return d*3/4 + chance(d/2)", new: "return d*3/4 + 0*chance(d/2)",
		pkg: "upstream/peering", test: "TestAskedUntilItAnswers",
	},
	{
		name: "peers compared later than an interval", promise: "G5",
		file: "upstream/peering/pause.go",
		old:  "return d - chance(max(d/4, 1))", new: "return d + chance(max(d/4, 1))",
		pkg: "upstream/peering", test: "TestComparedWithinAnInterval",
	},
	{
		name: "interval counted from the end of a slow comparison", promise: "G5",
		file: "upstream/peering/peering.go",
		old:  "\t\tnext := l.o.Now().Add(sooner(l.o.Interval, l.o.Chance))\n\t\tl.round(ctx)\n", new: "\t\tl.round(ctx)\n\t\tnext := l.o.Now().Add(sooner(l.o.Interval, l.o.Chance))\n",
		pkg: "upstream/peering", test: "TestComparedWithinAnInterval",
	},
	{
		name: "new head not shown to peers", promise: "G5",
		file: "upstream/peering/peering.go",
		old:  "\t\t\tl.tellNews(ctx)\n", new: "",
		pkg: "upstream/peering", test: "TestNewHeadIsShown",
	},
	{
		name: "news for a silent peer every second", promise: "G9",
		file: "upstream/peering/news.go",
		old:  "\tcase n.deaf:\n\t\treturn !wait\n", new: "\tcase n.deaf:\n\t\treturn true\n",
		pkg: "upstream/peering", test: "TestNewsForASilentPeer",
	},
	{
		name: "contradiction kept from the peer", promise: "G5",
		file: "upstream/peering/peering.go",
		old:  "if err == nil || errors.As(err, &alarm) {\n\t\t\tl.show", new: "if !errors.As(err, &alarm) && err == nil {\n\t\t\tl.show",
		pkg: "upstream/peering", test: "TestContradiction",
	},
	{
		name: "everything asked of a peer before it has answered once", promise: "G9",
		file: "upstream/peering/peering.go",
		old:  "\tif !l.first(ctx) {\n\t\treturn\n\t}\n", new: "\t_ = l.first\n",
		pkg: "upstream/peering", test: "TestAskedUntilItAnswers",
	},
	{
		name: "head that the peer could not judge shown once", promise: "G5",
		file: "upstream/peering/news.go",
		old:  "return n.open && !wait", new: "return n.open && !wait && false",
		pkg: "upstream/peering", test: "TestShownAgain",
	},
	{
		name: "first head of a registry kept from the peer", promise: "G5",
		file: "upstream/peering/news.go",
		old:  "\tcase n.unwanted:", new: "\tcase n.unwanted, n.length == 0:",
		pkg: "upstream/peering", test: "TestFirstHeadIsShown",
	},
	{
		name: "longer history of a peer not compared with ours", promise: "G5",
		file: "upstream/held.go",
		old:  "if err != nil || !provesFork(proof, from, to) {", new: "if err != nil || !provesFork(proof, from, to) || true {",
		pkg: "cmd/entrepot", test: "TestSplitViewWithinAnInterval",
	},
	{
		name: "peer that saw more not believed", promise: "G2",
		file: "authority/peers.go",
		old:  "case claims.LogLength > last.Unverified().LogLength,", new: "case claims.LogLength > last.Unverified().LogLength && false,",
		pkg: "internal/sim", test: "TestDrills",
	},
	{
		name: "registry opened before its peers were heard", promise: "G2",
		file: "authority/peers.go",
		old:  "\tif len(a.unheard()) == 0 {\n\t\treturn\n\t}", new: "\tif len(a.unheard()) >= 0 {\n\t\treturn\n\t}",
		pkg: "internal/sim", test: "TestDrills",
	},
	{
		name: "lost anchor replaced on nobody's word", promise: "G2",
		file: "authority/heal.go",
		old:  "case (!r.anchored || known.IsZero()) && w == nil:", new: "case known.IsZero() && w == nil:",
		pkg: "authority", test: "TestHealNeedsAWord",
	},
	{
		name: "lost history replaced on nobody's word", promise: "G2",
		file: "authority/heal.go",
		old:  "case (!r.anchored || known.IsZero()) && w == nil:", new: "case false && w == nil:",
		pkg: "internal/sim", test: "TestDrills",
	},
	{
		name: "peer that is behind taken over", promise: "G2",
		file: "authority/heal.go",
		old:  "case theirs.LogLength < ours.LogLength:", new: "case theirs.LogLength < ours.LogLength && false:",
		pkg: "internal/sim", test: "TestDrills",
	},
	{
		name: "records taken over without their content", promise: "G1",
		file: "authority/heal.go",
		old:  "\tif err := t.contents(ctx); err != nil {\n\t\treturn err\n\t}\n", new: "\t_ = t.contents\n",
		pkg: "internal/sim", test: "TestDrills",
	},
	{
		name: "tail of an old copy kept when it is healed", promise: "G2",
		file: "authority/heal.go",
		old:  "return r.journal.Cut(length)", new: "return nil",
		pkg: "internal/sim", test: "TestDrills",
	},
	{
		name: "what a peer said wrongly kept for the next recovery", promise: "G11",
		file: "cmd/entrepot/recover_from.go",
		old:  "return errors.Join(err, os.RemoveAll(dir))", new: "return err",
		pkg: "cmd/entrepot", test: "TestRecoverFromMendedPeer",
	},
	{
		name: "what peers said thrown together in a recovery", promise: "G11",
		file: "cmd/entrepot/recover_from.go",
		old:  "hex.EncodeToString(name[:8])", new: "hex.EncodeToString(name[:0])",
		pkg: "cmd/entrepot", test: "TestRecoverFromAnotherPeer",
	},
	{
		name: "recovery from a liar ends like one from who saw too little", promise: "G5",
		file: "cmd/entrepot/recover.go",
		old:  "if no.Untrue {", new: "if no.Untrue && false {",
		pkg: "cmd/entrepot", test: "TestRecoverTellsLies",
	},
	{
		name: "second history of our own found in a recovery, and no evidence kept", promise: "G5",
		file: "cmd/entrepot/recover_from.go",
		old:  "if !errors.As(refusal, &no) || !no.Untrue || no.Ours.IsZero() {", new: "if !errors.As(refusal, &no) || no.Untrue {",
		pkg: "cmd/entrepot", test: "TestRecoverTellsLies",
	},
	{
		name: "peer that is behind taken for a liar", promise: "G11",
		file: "authority/heal.go",
		old:  "return head, refused(\"the peer is behind", new: "return head, untrue(known, \"the peer is behind",
		pkg: "authority", test: "TestHealTellsLiesFromTooLittle",
	},
	{
		name: "convicted registry counted as consistent with the peer", promise: "G6",
		file: "upstream/peering/peering.go",
		old:  "\t\tl.note(r, Unjudged, nil)\n", new: "\t\tl.note(r, Consistent, nil)\n",
		pkg: "upstream/peering", test: "TestWhatAnswersMean",
	},
}
