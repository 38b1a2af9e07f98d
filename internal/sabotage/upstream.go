package main

// upstreamMutants break what is believed of another registry.
var upstreamMutants = []mutant{
	{
		name: "retries that nobody pays for", promise: "G9",
		file: "upstream/breaker.go",
		old:  "if b.failures < doublings && budget.take() {", new: "if b.failures < doublings {",
		pkg: "upstream", test: "TestFlappingUpstreamHasABudget",
	},
	{
		name: "pause that an upstream asks for not kept", promise: "G9",
		file: "upstream/replica.go",
		old:  "r.reach.hold(pause, now)", new: "r.reach.hold(0, now)",
		pkg: "upstream", test: "TestRetryAfterIsKept",
	},
	{
		name: "registry not asked because another host is broken", promise: "G9",
		file: "upstream/replica.go",
		old:  "if elsewhere(err) {", new: "if elsewhere(err) && false {",
		pkg: "upstream", test: "TestBrokenContentHost",
	},
	{
		name: "retries without a budget", promise: "G9",
		file: "upstream/breaker.go",
		old:  "if r.earned-1 < -retryReserve {", new: "if r.earned-1 < -retryReserve && false {",
		pkg: "upstream", test: "TestFlappingUpstreamHasABudget",
	},
	{
		name: "heal clears the journal before the peer is verified", promise: "G12",
		file: "authority/heal.go",
		old:  "r.journal, err = journal.LookShort(r.segments(logDir), r.registry)", new: "r.journal, err = journal.OpenShort(r.segments(logDir), r.registry)",
		pkg: "authority", test: "TestHealRefusedChangesNothing",
	},
	{
		name: "equal length accepted without comparing roots", promise: "G5",
		file: "upstream/refresh.go",
		old:  "if !view.SameView(served.cp) {", new: "if !view.SameView(served.cp) && false {",
		pkg: "upstream", test: "TestAttacks",
	},
	{
		name: "older checkpoint of the same length accepted", promise: "G4",
		file: "upstream/refresh.go",
		old:  "if view.Timestamp < served.cp.Timestamp {", new: "if view.Timestamp < served.cp.Timestamp && false {",
		pkg: "upstream", test: "TestAttacks",
	},
	{
		name: "checkpoint of the future accepted", promise: "G14",
		file: "upstream/refresh.go",
		old:  "case latest > 0 && c.Timestamp > uint64(latest):", new: "case latest > 0 && c.Timestamp > uint64(latest)<<20:",
		pkg: "upstream", test: "TestAttacks",
	},
	{
		name: "signature checked but not permission", promise: "G3",
		file: "upstream/operator.go",
		old:  "if !op.commits.Holds(s.KeyID(), view.LogLength) {", new: "if !op.commits.Holds(s.KeyID(), view.LogLength) && false {",
		pkg: "upstream", test: "TestAttacks",
	},
	{
		name: "permission of an upstream's key at its head", promise: "G3",
		file: "upstream/operator.go",
		old:  "if !op.commits.Holds(s.KeyID(), view.LogLength) {", new: "if !op.commits.Holds(s.KeyID(), op.commits.Length()) {",
		pkg: "upstream", test: "TestPermissionAtItsLength",
	},
	{
		name: "first key trusted in spite of a pin", promise: "G3",
		file: "upstream/grow.go",
		old:  "case pin != \"\" && h.Format == 0 && !op.hangsOn(pin, s):", new: "case pin != \"\" && h.Format == 0 && false:",
		pkg: "upstream", test: "TestPins",
	},
	{
		name: "pin compared with what the first record says", promise: "G3",
		file: "upstream/operator.go",
		old:  "return op.signer == pin || s.KeyID() == pin", new: "_, named := op.state.Key(pin)\n\treturn named || s.KeyID() == pin",
		pkg: "upstream", test: "TestPins",
	},
	{
		name: "signed log root not compared with the ledger", promise: "G3",
		file: "upstream/grow.go",
		old:  "if edge.Root() != g.cp.LogRoot {\n\t\treturn g.mismatch(ctx)", new: "if edge.Root() != g.cp.LogRoot && false {\n\t\treturn g.mismatch(ctx)",
		pkg: "upstream", test: "TestAttacks",
	},
	{
		name: "signed map root not compared", promise: "G3",
		file: "upstream/grow.go",
		old:  "case got.MapRoot != want.MapRoot:", new: "case got.MapRoot != want.MapRoot && false:",
		pkg: "upstream", test: "TestAttacks",
	},
	{
		name: "accepted lengths not compared on the way", promise: "G4",
		file: "upstream/grow.go",
		old:  "if g.checks[0].LogRoot != edge.Root() {", new: "if g.checks[0].LogRoot != edge.Root() && false {",
		pkg: "upstream", test: "TestRewrittenWhileTheCacheIsGone",
	},
	{
		name: "operator records not compared with the ledger", promise: "G3",
		file: "upstream/grow.go",
		old:  "if rec := g.records[n+i]; rec.Index != leaf.index || rec.OperatorRecordID() != leaf.id {", new: "if rec := g.records[n+i]; rec.Index > leaf.index+1<<40 {",
		pkg: "upstream", test: "TestAttacks",
	},
	{
		name: "missing operator records not noticed", promise: "G3",
		file: "upstream/grow.go",
		old:  "if len(g.records)-n != len(g.seen) {", new: "if len(g.records)-n < 0 {",
		pkg: "upstream", test: "TestAttacks",
	},
	{
		name: "record that is not in the ledger accepted", promise: "G3",
		file: "upstream/verify_logs.go",
		old:  "case !ok || index != rec.Index:", new: "case (!ok || index != rec.Index) && false:",
		pkg: "upstream", test: "TestAttacks",
	},
	{
		name: "records' signatures not verified", promise: "G3",
		file: "upstream/verify_logs.go",
		old:  "good[i] = ok && key.VerifyPackageRecord(records[i].Content, records[i].Signature) == nil", new: "good[i] = ok && (key.VerifyPackageRecord(records[i].Content, records[i].Signature) == nil || true)",
		pkg: "upstream", test: "TestSignaturesOfALongLog",
	},
	{
		name: "name not compared with its id", promise: "G7",
		file: "upstream/serve_names.go",
		old:  "case name.LogID() != id:", new: "case name.LogID() != id && false:",
		pkg: "upstream", test: "TestAttacks",
	},
	{
		name: "content of a release not found because upstream says so", promise: "G3",
		file: "upstream/serve_content.go",
		old:  "err = r.denied(ctx, digest, warg.NotFound(warg.KindContentNotFound, digest))", new: "err = warg.NotFound(warg.KindContentNotFound, digest)",
		pkg: "upstream", test: "TestDeniedContent",
	},
	{
		name: "no evidence kept", promise: "G5",
		file: "upstream/evidence.go",
		old:  "if err := durable.Replace(fsys, name, text, nil); err != nil {", new: "if err := error(nil); err != nil {",
		pkg: "upstream", test: "TestAttacks",
	},
	{
		name: "quarantine forgotten by a restart", promise: "G5",
		file: "upstream/trusted.go",
		old:  "\th.Quarantine = &q\n\treturn t.replaceHead(h)", new: "\th.Quarantine = &q\n\tt.mu.Lock()\n\tdefer t.mu.Unlock()\n\tt.head = h\n\treturn nil",
		pkg: "upstream", test: "TestAttacks",
	},
	{
		name: "quarantined registry asked again", promise: "G5",
		file: "upstream/refresh.go",
		old:  "func (r *Replica) Refresh(ctx context.Context) error {\n\tif r.o.Offline || r.trusted.current().Quarantine != nil {", new: "func (r *Replica) Refresh(ctx context.Context) error {\n\tif r.o.Offline {",
		pkg: "upstream", test: "TestAttacks",
	},
	{
		name: "head served before it is durable", promise: "G4",
		file: "upstream/refresh.go",
		old:  "\t\tif err := r.trusted.accept(s, cp, op, pinned, now); err != nil {\n\t\t\treturn err\n\t\t}\n\t\tr.view.Store(&view{s, cp, op, r.epoch.Load()})", new: "\t\tr.view.Store(&view{s, cp, op, r.epoch.Load()})\n\t\tif err := r.trusted.accept(s, cp, op, pinned, now); err != nil {\n\t\t\treturn err\n\t\t}",
		pkg: "upstream", test: "TestHeadIsDurableBeforeItIsServed",
	},
	{
		name: "older head file put back accepted", promise: "G4",
		file: "upstream/trusted.go",
		old:  "case n > 0 && t.accepted[n-1].view.LogLength > t.head.view.LogLength:", new: "case n > 0 && t.accepted[n-1].view.LogLength > t.head.view.LogLength && false:",
		pkg: "upstream", test: "TestDamagedMemory",
	},
	{
		name: "head's checksum not compared", promise: "G12",
		file: "upstream/trusted.go",
		old:  "if i < 0 || checksum(line[:i]) != string(line[i+1:]) {", new: "if i < 0 {",
		pkg: "upstream", test: "TestDamagedMemory",
	},
	{
		name: "length that was never accepted proven", promise: "G3",
		file: "upstream/serve_proofs.go",
		old:  "err == nil && !accepted {", new: "err == nil && !accepted && false {",
		pkg: "upstream", test: "TestLengthsThatWereNeverSigned",
	},
	{
		name: "longer cache believed without comparing its root", promise: "G12",
		file: "upstream/replica.go",
		old:  "if err == nil && edge.Root() != cp.LogRoot {", new: "if err == nil && edge.Root() != cp.LogRoot && false {",
		pkg: "upstream", test: "TestCacheOfAnotherHistory",
	},
	{
		name: "shorter archive moves the view back", promise: "G4",
		file: "upstream/commit.go",
		old:  "case loaded.cp.LogLength < h.view.LogLength:", new: "case loaded.cp.LogLength < h.view.LogLength && false:",
		pkg: "upstream/archive", test: "TestImportOfDeltas",
	},
	{
		name: "archive that contradicts what was accepted imported", promise: "G5",
		file: "upstream/commit.go",
		old:  "if edge.Root() == h.view.LogRoot {", new: "if edge.Root() == h.view.LogRoot || true {",
		pkg: "upstream/archive", test: "TestForks",
	},
	{
		name: "bytes behind the end of an archive accepted", promise: "G12",
		file: "upstream/archive/scan.go",
		old:  "case c.at != c.s.size:", new: "case c.at != c.s.size && false:",
		pkg: "upstream/archive", test: "TestEveryTruncation",
	},
	{
		name: "sum over an archive not compared", promise: "G12",
		file: "upstream/archive/scan.go",
		old:  "case string(payload) != string(c.a.id[:]):", new: "case string(payload) != string(c.a.id[:]) && false:",
		pkg: "upstream/archive", test: "TestSumOfEverything",
	},
	{
		name: "checksums of an archive not compared", promise: "G12",
		file: "upstream/archive/frame.go",
		old:  "if crc32.Checksum(body, castagnoli()) != sum {", new: "if crc32.Checksum(body, castagnoli()) != sum && false {",
		pkg: "upstream/archive", test: "TestEveryFlippedByte",
	},
}

// replicaMutants break how a replica answers, shares work and forwards.
var replicaMutants = []mutant{
	{
		name: "stale answers beyond max_stale", promise: "G6",
		file: "upstream/fresh.go",
		old:  "r.age() <= r.o.MaxStale {", new: "r.age() <= r.o.MaxStale || true {",
		pkg: "upstream", test: "TestRefuseStale",
	},
	{
		name: "stale answer says nothing", promise: "G6",
		file: "upstream/fresh.go",
		old:  "if q == nil && r.age() <= r.o.MaxAge {", new: "if q == nil && r.age() <= r.o.MaxAge*1000 {",
		pkg: "upstream", test: "TestUpstreamDown",
	},
	{
		name: "offline registry is dialed", promise: "G8",
		file: "upstream/replica.go",
		old:  "if r.o.Offline {\n\t\treturn &warg.Error{Kind: warg.KindUnavailable, RetryAfter: retryOffline", new: "if r.o.Offline && false {\n\t\treturn &warg.Error{Kind: warg.KindUnavailable, RetryAfter: retryOffline",
		pkg: "upstream", test: "TestOffline",
	},
	{
		name: "reader that leaves takes the others with it", promise: "G6", short: true,
		file: "upstream/serve_content.go",
		old:  "r.detach(contentTimeout, func(ctx context.Context) {", new: "r.detach(contentTimeout, func(context.Context) {",
		pkg: "upstream", test: "TestReaderOfContentLeaves",
	},
	{
		name: "everybody fetches for himself", promise: "G9",
		file: "upstream/flight.go",
		old:  "fl, ok := f.m[k]\n\t\tif !ok {", new: "fl, ok := f.m[k]\n\t\tif !ok || true {",
		pkg: "upstream", test: "TestColdReadersShareOneFetch",
	},
	{
		name: "unknown ids asked upstream for a hint", promise: "G7",
		file: "upstream/serve_names.go",
		old:  "if known, err = r.inLedger(v, id); err != nil || !known {\n", new: "if known, err = r.inLedger(v, id); err != nil || !known {\n\t\t\t_ = r.fetchNames(ctx, []warg.LogID{id})\n",
		pkg: "upstream", test: "TestReplicaNeverAsksAboutUnknownLogs",
	},
	{
		name: "uploaded bytes not compared with their digest", promise: "G3",
		file: "upstream/through_upload.go",
		old:  "case got != digest:", new: "case got != digest && false:",
		pkg: "upstream", test: "TestUploadThroughIsChecked",
	},
	{
		name: "uploads through us of any size", promise: "G9",
		file: "upstream/through_upload.go",
		old:  "io.LimitReader(source, r.o.MaxUpload+1)", new: "io.LimitReader(source, r.o.MaxUpload)",
		pkg: "upstream", test: "TestUploadThroughIsChecked",
	},
	{
		name: "upload capability can be guessed", promise: "G10",
		file: "upstream/uploads/book.go",
		old:  "if !hmac.Equal(b.sum(signed), c) {", new: "if !hmac.Equal(b.sum(signed), c) && false {",
		pkg: "upstream/uploads", test: "TestForgery",
	},
	{
		name: "upload capability lasts for ever", promise: "G10",
		file: "upstream/uploads/book.go",
		old:  "end <= b.o.Now().Unix() {", new: "end <= 0 {",
		pkg: "upstream/uploads", test: "TestOffer",
	},
	{
		name: "upload address handed out before it is durable", promise: "G1",
		file: "upstream/uploads/file.go",
		old:  "if err := file.Sync(); err != nil {", new: "if err := error(nil); err != nil {",
		pkg: "upstream/uploads", test: "TestEveryCallCanFail",
	},
	{
		name: "refused log asked for by every reader", promise: "G9",
		file: "upstream/fetch_logs.go",
		old:  "b.r.logsFailed.put(id, err, b.r.o.Now().Add(refusedPause))", new: "_ = refusedPause",
		pkg: "upstream", test: "TestRefusedIsNotAskedForByEverybody",
	},
}

// transportMutants break what keeps us from being sent somewhere.
var transportMutants = []mutant{
	{
		name: "resolved address not judged", promise: "G10",
		file: "upstream/dial.go",
		old:  "return p.checkDial(hostPortDialed, ap.Addr())", new: "_ = ap\n\t\t\t\treturn nil",
		pkg: "upstream", test: "TestClientPrivateAddresses",
	},
	{
		name: "name resolved twice", promise: "G10",
		file: "upstream/dial.go",
		old:  "\t\treturn d.DialContext(ctx, network, hostPortDialed)\n", new: "\t\tr, host, _ := resolver, \"\", \"\"\n\t\tif host, _, _ = net.SplitHostPort(hostPortDialed); r == nil {\n\t\t\tr = net.DefaultResolver\n\t\t}\n\t\taddrs, err := r.LookupNetIP(ctx, \"ip\", host)\n\t\tfor _, a := range addrs {\n\t\t\tif err := p.checkDial(hostPortDialed, a.Unmap()); err != nil {\n\t\t\t\treturn nil, err\n\t\t\t}\n\t\t}\n\t\td.Control = nil\n\t\t_ = err\n\t\treturn d.DialContext(ctx, network, hostPortDialed)\n",
		pkg: "upstream", test: "TestNameIsResolvedOnce",
	},
	{
		name: "redirect followed without judging its target", promise: "G10",
		file: "upstream/dial.go",
		old:  "if err := p.checkURL(next.URL); err != nil {", new: "if err := p.checkURL(next.URL); err != nil && false {",
		pkg: "upstream", test: "TestClientContent",
	},
	{
		name: "API calls follow redirects", promise: "G10",
		file: "upstream/dial.go",
		old:  "if !redirectable(next.Context()) {", new: "if !redirectable(next.Context()) && false {",
		pkg: "upstream", test: "TestClientRefusesAnswers",
	},
	{
		name: "content URL not judged", promise: "G10",
		file: "upstream/client_content.go",
		old:  "if err := c.places.checkURL(u); err != nil {", new: "if err := c.places.checkURL(u); err != nil && false {",
		pkg: "upstream", test: "TestClientContent",
	},
	{
		name: "credentials sent with content", promise: "G10", short: true,
		file: "upstream/client_content.go",
		old:  "\tresp, err := c.send(ctx, req)\n", new: "\tc.authorize(req)\n\tresp, err := c.send(ctx, req)\n",
		pkg: "upstream", test: "TestClientCredentials",
	},
	{
		name: "loopback counts as public", promise: "G10",
		file: "upstream/address.go",
		old:  "return reachLocal\n", new: "return reachPublic\n",
		pkg: "upstream", test: "TestReachOf",
	},
	{
		name: "IPv4 address inside IPv6 not looked at", promise: "G10",
		file: "upstream/address.go",
		old:  "if inner, ok := embeddedIPv4(a); ok {", new: "if inner, ok := embeddedIPv4(a); ok && false {",
		pkg: "upstream", test: "TestReachOf",
	},
	{
		name: "encoded body accepted", promise: "G9",
		file: "upstream/exchange.go",
		old:  "!strings.EqualFold(e, \"identity\") || resp.Uncompressed {", new: "!strings.EqualFold(e, \"identity\") && false || resp.Uncompressed {",
		pkg: "upstream", test: "TestClientRefusesAnswers",
	},
	{
		name: "endless answer read to its end", promise: "G9",
		file: "upstream/exchange.go",
		old:  "b := bound(resp.Body, limit, c.o.Timing, cancel)\n\tdefer b.Close()", new: "b := bound(resp.Body, limit*2, c.o.Timing, cancel)\n\tdefer b.Close()",
		pkg: "upstream", test: "TestClientRefusesAnswers",
	},
}
