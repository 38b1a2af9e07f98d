package main

// cacheMutants break what is kept of other registries.
var cacheMutants = []mutant{
	{
		name: "cached content kept under any digest", promise: "G3",
		file: "cache/content.go",
		old:  "if got := warg.Sum(b); got != d {", new: "if got := warg.Sum(b); got != d && false {",
		pkg: "cache", test: "TestContentRefused",
	},
	{
		name: "damaged cached content served", promise: "G12",
		file: "cache/content.go",
		old:  "if err == nil && found && warg.Sum(blob) == d {", new: "if err == nil && found {",
		pkg: "cache", test: "TestContentUnderAnotherDigest",
	},
	{
		name: "content of one registry served for another", promise: "G7",
		file: "cache/content.go",
		old:  "return append(append(make([]byte, 0, len(r.scope)+len(d)), r.scope...), d[:]...)", new: "return append(append(make([]byte, 0, len(r.scope)+len(d)), r.scope[0]), d[:]...)",
		pkg: "cache", test: "TestContent",
	},
	{
		name: "eviction takes what is pinned", promise: "G8",
		file: "cache/budget.go",
		old:  "if len(b.pins[d]) > 0 {\n\t\t_, held", new: "if len(b.pins[d]) < 0 {\n\t\t_, held",
		pkg: "cache", test: "TestPins",
	},
	{
		name: "pins forgotten by a restart", promise: "G8",
		file: "cache/budget.go",
		old:  "if err := c.loadPins(); err != nil {", new: "if err := error(nil); err != nil {",
		pkg: "cache", test: "TestPins",
	},
	{
		name: "one plan's release takes another's pin", promise: "G8",
		file: "cache/pin.go",
		old:  "if len(left) > 0 {", new: "if len(left) > 1<<30 {",
		pkg: "cache", test: "TestPinsAtRandom",
	},
	{
		name: "cache grows without bound", promise: "G9",
		file: "cache/budget.go",
		old:  "if b.total <= limit || b.order.Len() < 2 {", new: "if b.total <= limit*1000 || b.order.Len() < 2 {",
		pkg: "cache", test: "TestEviction",
	},
	{
		name: "damaged cached record never fetched again", promise: "G12",
		file: "cache/record.go",
		old:  "if err := n.setHeld(log, i); err != nil {", new: "if err := error(nil); err != nil {",
		pkg: "cache", test: "TestDamagedRecord",
	},
}

// clientMutants break what stands between clients and registries.
var clientMutants = []mutant{
	{
		name: "panic of a handler not recovered", promise: "G9",
		file: "proxy/server.go",
		old:  "\tdefer c.finish()\n\tdefer c.recover()\n", new: "\tdefer c.finish()\n",
		pkg: "proxy", test: "TestPanicsAreAnswered",
	},
	{
		name: "accept gives up without descriptors", promise: "G9",
		file: "proxy/listener.go",
		old:  "if !l.wait(pause) {\n", new: "if l.wait(pause) || true {\n",
		pkg: "proxy", test: "TestListenerSurvivesFailingAccepts",
	},
	{
		name: "connections of one address not counted", promise: "G9",
		file: "proxy/listener.go",
		old:  "case c.counted && l.peers[c.peer] >= l.caps.perPeer:", new: "case c.counted && l.peers[c.peer] < 0:",
		pkg: "proxy", test: "TestListenerCaps",
	},
	{
		name: "descriptors of the stores given away", promise: "G9",
		file: "proxy/listener.go",
		old:  "ok && fd >= l.caps.lastFile {", new: "ok && fd < 0 {",
		pkg: "proxy", test: "TestListenerKeepsDescriptorsInReserve",
	},
	{
		name: "limit not applied to chunked bodies", promise: "G9",
		file: "proxy/body.go",
		old:  "case b.read > b.limit:", new: "case b.declared >= 0 && b.read > b.limit:",
		pkg: "proxy", test: "TestUploadsThatAreRefused",
	},
	{
		name: "body that was cut off taken for whole", promise: "G3",
		file: "proxy/body.go",
		old:  "cut := b.declared > b.read || b.declared < 0 && b.conn != nil && b.conn.ended", new: "cut := b.declared > b.read && false",
		pkg: "proxy", test: "TestCutBodies",
	},
	{
		name: "announced bodies take memory", promise: "G9",
		file: "proxy/body.go",
		old:  "for size := int64(firstBodyStep); ; size *= bodySteps {", new: "for size := max(int64(firstBodyStep), b.declared+1); ; size *= bodySteps {",
		pkg: "proxy", test: "TestAnnouncedBodiesTakeNoMemory",
	},
	{
		name: "memory for bodies without bound", promise: "G9",
		file: "proxy/budget.go",
		old:  "if b.waiting.Len() == 0 && b.free >= n {", new: "if b.waiting.Len() == 0 {",
		pkg: "proxy", test: "TestBudgetProperty",
	},
	{
		name: "memory for bodies goes to who came first", promise: "G9",
		file: "proxy/budgetline.go",
		old:  "if h[i].held != h[j].held {", new: "if h[i].held != h[j].held && false {",
		pkg: "proxy", test: "TestBudgetIsShared",
	},
	{
		name: "bodies that stopped arriving keep their memory", promise: "G9",
		file: "proxy/budget.go",
		old:  "if left := b.grace - time.Since(s.since); left > 0 {", new: "if left := b.grace; left > 0 {",
		pkg: "proxy", test: "TestUnfilledBodiesGiveWay",
	},
	{
		name: "few descriptors are not shared", promise: "G9",
		file: "proxy/options.go",
		old:  "caps.lastFile = files - min(reservedFiles, files/2)", new: "caps.lastFile = files - min(reservedFiles, files/200)",
		pkg: "proxy", test: "TestCapsLeaveDescriptors",
	},
	{
		name: "connections of one moment end at one moment", promise: "G9",
		file: "proxy/conn.go",
		old:  "return d + time.Duration(c.spread*float64(d))", new: "return d",
		pkg: "proxy", test: "TestDeadlinesAreSpread",
	},
	{
		name: "heads of tiny fields are parsed whole", promise: "G9",
		file: "proxy/headlines.go",
		old:  "if h.lines > maxFields+1 {", new: "if h.lines > maxFields<<20 {",
		pkg: "proxy", test: "TestManyFieldsCostLittle",
	},
	{
		name: "body that was told to leave is used", promise: "G9",
		file: "proxy/budget.go",
		old:  "return !s.leaving", new: "return true",
		pkg: "proxy", test: "TestBudgetHoldAndWait",
	},
	{
		name: "both lengths of a body accepted", promise: "G9",
		file: "proxy/gate.go",
		old:  "case seen.has(fieldLength) && seen.has(fieldEncoding):", new: "case seen.has(fieldLength) && seen.has(fieldEncoding) && false:",
		pkg: "proxy", test: "TestHeads",
	},
	{
		name: "header that may stand once accepted twice", promise: "G9",
		file: "proxy/gate.go",
		old:  "if one != 0 && seen.has(one) {", new: "if one != 0 && seen.has(one) && false {",
		pkg: "proxy", test: "TestHeads",
	},
	{
		name: "folded header lines accepted", promise: "G9",
		file: "proxy/gate.go",
		old:  "if line[0] == ' ' || line[0] == '\\t' {", new: "if line[0] == 0 {",
		pkg: "proxy", test: "TestGateTrustsNobody",
	},
	{
		name: "unknown registry answered by our own", promise: "G7", short: true,
		file: "proxy/federation.go",
		old:  "return target{}, warg.Errorf(warg.KindNotFound, \"registry `%s` is not served here\", domain)", new: "return target{registry: f.own, publisher: f.own}, nil",
		pkg: "proxy", test: "TestSelect",
	},
	{
		name: "hint to a registry that is not mapped", promise: "G7",
		file: "proxy/federation.go",
		old:  "case err == nil && table.domains[name.Namespace()] == domain:", new: "case err == nil:",
		pkg: "proxy", test: "TestHints",
	},
	{
		name: "texts of internal errors shown", promise: "G10",
		file: "warg/api/error.go",
		old:  "if e.Message == \"\" || kind == warg.KindInternal {\n\t\treturn (&warg.Error{Kind: kind}).Error()", new: "if e.Message == \"\" && e.Err != nil {\n\t\treturn e.Err.Error()",
		pkg: "proxy", test: "TestInternalErrorsStayInside",
	},
	{
		name: "upload capability written to the log", promise: "G10",
		file: "proxy/finish.go",
		old:  "case c.row.Op == api.OpUploadCapability:\n\t\tname", new: "case c.row.Op == api.OpUploadCapability && false:\n\t\tname",
		pkg: "proxy", test: "TestLogKeepsSecrets",
	},
	{
		name: "web pages may call the admin listener", promise: "G10",
		file: "proxy/admin.go",
		old:  "case r.Header.Get(\"Origin\") != \"\" || r.Header.Get(\"Sec-Fetch-Site\") != \"\":", new: "case false:",
		pkg: "proxy", test: "TestAdminKeepsWebPagesOut",
	},
}
