package main

// fenceMutants break what a registry says and does while it may be behind, and how it is
// brought back.
var fenceMutants = []mutant{
	{
		name: "not found said while more may have been published", promise: "G4",
		file: "authority/fence.go",
		old:  "if a.fence.Load().reading() {\n\t\treturn err", new: "if a.fence.Load().reading() || err != nil {\n\t\treturn err",
		pkg: "authority", test: "TestFences",
	},
	{
		name: "index of another history kept behind a fence", promise: "G12",
		file: "authority/behind.go",
		old:  "case contradicts:", new: "case contradicts && false:",
		pkg: "authority", test: "TestIndexBehindAFence",
	},
	{
		name: "signature of the audit log not verified", promise: "G17",
		file: "internal/audit/sign.go",
		old:  "return key.ID(), key.VerifyAuditHead(l.statement(before, l.Time), sig)", new: "_ = sig\n\treturn key.ID(), nil",
		pkg: "internal/audit", test: "TestForgedSignatures",
	},
	{
		name: "audit log signed by anybody", promise: "G17",
		file: "internal/audit/verify.go",
		old:  "case len(v.o.Keys) > 0 && !slices.Contains(v.o.Keys, by):", new: "case len(v.o.Keys) < 0:",
		pkg: "internal/audit", test: "TestDailyHeadIsSigned",
	},
	{
		name: "end of a day left unsigned", promise: "G17",
		file: "internal/audit/sign.go",
		old:  "|| l.last == Signed ||", new: "|| l.last != \"\" ||",
		pkg: "internal/audit", test: "TestDailyHeadIsSigned",
	},
	{
		name: "end of the history misled by what stands behind it", promise: "G12",
		file: "authority/anchor/history.go",
		old:  "if !durable.OnlyZeros(b[(n-first)*blockSize:]) ||", new: "if false ||",
		pkg: "authority/anchor", test: "TestHistoryWithSomethingBehind",
	},
	{
		name: "lost checkpoint denied", promise: "G12",
		file: "authority/read.go",
		old:  "err == nil && !ok && a.history.HasGaps():", new: "err == nil && !ok && a.history.HasGaps() && false:",
		pkg: "authority", test: "TestDamagedHistory",
	},
	{
		name: "forged checkpoint not denied", promise: "G12",
		file: "authority/read.go",
		old:  "err == nil && !ok && a.history.HasGaps():", new: "err == nil && !ok:",
		pkg: "authority", test: "TestWholeHistoryDeniesForgeries",
	},
	{
		name: "damaged history thrown away", promise: "G12",
		file: "authority/salvage.go",
		old:  "if lines, err = r.bornOut(ctx, r.remains.Lines); err != nil {", new: "if _, err = r.bornOut(ctx, r.remains.Lines); err != nil {",
		pkg: "authority", test: "TestDamagedHistory",
	},
	{
		name: "server starts on half a restore", promise: "G2",
		file: "cmd/entrepot/restore.go",
		old:  "\tif half {", new: "\tif half && false {",
		pkg: "cmd/entrepot", test: "TestAuditOfCommands",
	},
	{
		name: "interrupted restore taken for a whole one", promise: "G2",
		file: "authority/backup/restore.go",
		old:  "\tc := newCopier(s.FS, s.Data, tell)\n", new: "\tc := newCopier(s.FS, s.Data, tell)\n\tif err := errors.Join(end(s), begin(s, nil)); err != nil {\n\t\treturn nil, err\n\t}\n",
		pkg: "authority/backup", test: "TestInterruptedRestore",
	},
}
