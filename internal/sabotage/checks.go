package main

// checkMutants break what tells a publisher that its record is rejected, and what reads a
// data directory to judge or mend it.
var checkMutants = []mutant{
	{
		name: "rejected answered before its batch is published", promise: "G1",
		file: "authority/batch.go",
		old:  "\tif len(b.items) > 0 {\n\t\tif err := a.append(b); err != nil {", new: "\tif err := a.rejectAll(b.rejected); err != nil {\n\t\treturn err\n\t}\n\tb.rejected = nil\n\tif len(b.items) > 0 {\n\t\tif err := a.append(b); err != nil {",
		pkg: "authority", test: "TestRejectedAfterItsBatch",
	},
	{
		name: "rejected answered before it is durable", promise: "G1",
		file: "authority/sequencer.go",
		old:  "\terr := a.pending.Write(pending.Reject(", new: "\ta.pool.settle(s.log, s.id, warg.RecordStatus{RecordID: s.id, State: warg.StateRejected, Reason: reason})\n\terr := a.pending.Write(pending.Reject(",
		pkg: "authority", test: "TestRejectionIsDurableBeforeItIsTold",
	},
	{
		name: "refusal that found no space not undone", promise: "G1",
		file: "authority/upload.go",
		old:  "\t\ta.pool.endReject(s)\n", new: "",
		pkg: "authority", test: "TestRefusalWithoutSpace",
	},
	{
		name: "rejected record submitted again taken in again", promise: "G1",
		file: "authority/admit.go",
		old:  "case !ok:\n\t\treturn st, false, nil\n\t}\n\treturn warg.RecordStatus{RecordID", new: "case !ok || r.State == warg.StateRejected:\n\t\treturn st, false, nil\n\t}\n\treturn warg.RecordStatus{RecordID",
		pkg: "authority", test: "TestC11Replay",
	},
	{
		name: "map proven at the head instead of at the length", promise: "G3",
		file: "internal/tree/prove.go",
		old:  "if at.Length == s.Length {", new: "if at.Length <= s.Length {",
		pkg: "internal/tree", test: "TestGrowth",
	},
	{
		name: "keys written behind out of order", promise: "G12",
		file: "internal/kv/behind.go",
		old:  "\t\tg.pairs[old] = pair{dead: true}\n", new: "\t\tg.pairs[old] = p\n\t\treturn\n",
		pkg: "internal/kv", test: "TestBehindOrder",
	},
	{
		name: "what is being written behind not readable", promise: "G12",
		file: "internal/kv/behind.go",
		old:  "[]*generation{r.b.now, r.b.before}", new: "[]*generation{r.b.now}",
		pkg: "internal/kv", test: "TestBehind",
	},
	{
		name: "entries that nothing leads to not looked for", promise: "G12",
		file: "authority/check/check.go",
		old:  "\tr.strays()\n", new: "",
		pkg: "authority/check", test: "TestStrayEntries",
	},
	{
		name: "looking at a damaged index counts as an opening", promise: "G12",
		file: "authority/check/index.go",
		old:  "return nil, c.putBack(counter, before)", new: "_ = before\n\t\treturn nil, nil",
		pkg: "cmd/entrepot", test: "TestRepair/what_is_made_again",
	},
	{
		name: "signatures of accepted checkpoints not verified by fsck", promise: "G12",
		file: "upstream/inspect_signed.go",
		old:  "view, err := j.op.open(s)", new: "view, err := claimed(s), error(nil)",
		pkg: "upstream", test: "TestInspectForged",
	},
	{
		name: "accepted log roots not compared by fsck", promise: "G12",
		file: "upstream/inspect_signed.go",
		old:  "root != view.LogRoot {", new: "root != view.LogRoot && false {",
		pkg: "upstream", test: "TestInspectOtherLedger",
	},
	{
		name: "pinned key not asked for by fsck", promise: "G12",
		file: "upstream/inspect_signed.go",
		old:  "if !op.hangsOn(pin, t.head.signed) {", new: "if !op.hangsOn(pin, t.head.signed) && false {",
		pkg: "upstream", test: "TestInspectSigned",
	},
	{
		name: "evidence that proves nothing passed by fsck", promise: "G5",
		file: "cmd/entrepot/fsck_signed.go",
		old:  "\t\t\tr.say(classEvidence, name, 0, \"it proves nothing: \"+err.Error())\n", new: "",
		pkg: "cmd/entrepot", test: "TestRepair/what_only_a_backup_has",
	},
}
