package main

// admissionMutants break what decides whether a record is taken, and what becomes of it.
var admissionMutants = []mutant{
	{
		name: "signature not verified at admission", promise: "G3",
		file: "authority/admit.go",
		old:  "if err := key.VerifyPackageRecord(s.env.Content, s.env.Signature); err != nil {", new: "if err := key.VerifyPackageRecord(s.env.Content, s.env.Signature); err != nil && false {",
		pkg: "authority", test: "TestConformance",
	},
	{
		name: "key without permissions may submit", promise: "G3",
		file: "authority/admit.go",
		old:  "if len(l.state.Permissions(s.env.KeyID)) == 0 {", new: "if len(l.state.Permissions(s.env.KeyID)) < 0 {",
		pkg: "authority", test: "TestRefusals",
	},
	{
		name: "log id not compared with the name", promise: "G7",
		file: "authority/admit.go",
		old:  "if derived := req.Name.LogID(); derived != req.LogID {", new: "if derived := req.Name.LogID(); derived != req.LogID && false {",
		pkg: "authority", test: "TestConformance",
	},
	{
		name: "namespace of another registry accepted", promise: "G7",
		file: "authority/operators.go",
		old:  "case !ns.Defined:", new: "case !ns.Defined && false:",
		pkg: "authority", test: "TestConformance",
	},
	{
		name: "namespace that nobody defined accepted", promise: "G7",
		file: "authority/operators.go",
		old:  "case !ok:\n\t\treturn &warg.Error{Kind: warg.KindNamespaceNotFound", new: "case !ok:\n\t\treturn nil\n\tcase !ok && false:\n\t\treturn &warg.Error{Kind: warg.KindNamespaceNotFound",
		pkg: "authority", test: "TestNobodyPublishesThere",
	},
	{
		name: "policy not asked", promise: "G3",
		file: "authority/policy.go",
		old:  "!p.Packages[name.String()].allows(key, e) {", new: "!p.Packages[name.String()].allows(key, e) && false {",
		pkg: "authority", test: "TestPolicy",
	},
	{
		name: "delegation lets anybody begin a log", promise: "G3",
		file: "authority/policy.go",
		old:  "r.Delegation && !init {", new: "r.Delegation && (!init || true) {",
		pkg: "authority", test: "TestPolicy",
	},
	{
		name: "record that does not follow the head accepted", promise: "G3",
		file: "authority/admit.go",
		old:  "if ok && (s.record.Prev == nil", new: "if ok && false && (s.record.Prev == nil",
		pkg: "authority", test: "TestConformance",
	},
	{
		name: "same record in two logs", promise: "G7",
		file: "authority/admit.go",
		old:  "case elsewhere:\n", new: "case elsewhere && false:\n",
		pkg: "authority", test: "TestSameBytesInTwoLogs",
	},
	{
		name: "quota of a key not counted", promise: "G9",
		file: "authority/pool.go",
		old:  "case len(s.missing) > 0 && p.perKey[s.env.KeyID] >= p.limits.PendingPerKey:", new: "case len(s.missing) > 0 && p.perKey[s.env.KeyID] < 0:",
		pkg: "authority", test: "TestQuotas",
	},
	{
		name: "expired submission kept", promise: "G9",
		file: "authority/pool.go",
		old:  "if !s.at.Before(before) {", new: "if !s.at.Before(before) || true {",
		pkg: "authority", test: "TestExpiry",
	},
	{
		name: "expiry not durable", promise: "G1",
		file: "authority/sequencer.go",
		old:  "err := a.pending.Write(pending.Reject(a.o.Now(), s.log, s.id, reason))", new: "var err error\n\t_ = pending.Reject",
		pkg: "authority", test: "TestStory",
	},
	{
		name: "writing goes on with a full disk", promise: "G11",
		file: "authority/fence.go",
		old:  "if !a.space.enough(now) || a.o.Audit.Behind() {", new: "if (!a.space.enough(now) && false) || a.o.Audit.Behind() {",
		pkg: "authority", test: "TestNoSpace",
	},
	{
		name: "accepted record not taken up after a crash", promise: "G1",
		file: "authority/open.go",
		old:  "\ta.pool.restore(s)\n\treturn nil\n", new: "\treturn nil\n",
		pkg: "authority", test: "TestRestartKeepsEveryState",
	},
	{
		name: "upload of content that nobody waits for", promise: "G9",
		file: "authority/upload.go",
		old:  "case waits && !a.pool.offered(id, digest):", new: "case waits && !a.pool.offered(id, digest) && false:",
		pkg: "authority", test: "TestConformance",
	},
	{
		name: "content policy has no say", promise: "G3",
		file: "authority/upload.go",
		old:  "if err := c.Err(); err != nil {", new: "if err := c.Err(); err != nil && false {",
		pkg: "authority", test: "TestContentPolicies",
	},
}

// logMutants break the protocol's own rules: of logs, keys, proofs and texts.
var logMutants = []mutant{
	{
		name: "signature of a record not verified", promise: "G3", short: true,
		file: "warg/internal/logstate/core.go",
		old:  "if s.Verify != nil && s.Verify(key) != nil {", new: "if s.Verify != nil && s.Verify(key) != nil && false {",
		pkg: "warg/pkglog", test: "TestRefusals",
	},
	{
		name: "permission of a signer not looked at", promise: "G3",
		file: "warg/internal/logstate/rules.go",
		old:  "if !c.Can(id, p) {", new: "if !c.Can(id, p) && false {",
		pkg: "warg/pkglog", test: "TestRefusals",
	},
	{
		name: "release without permission", promise: "G3",
		file: "warg/pkglog/state.go",
		old:  "if err := s.core.Authorize(by.keyID, PermissionRelease); err != nil {", new: "if err := s.core.Initialized(); err != nil {",
		pkg: "warg/pkglog", test: "TestRefusals",
	},
	{
		name: "version released twice", promise: "G3",
		file: "warg/pkglog/state.go",
		old:  "if _, ok := s.releases.Find(e.Version); ok {", new: "if _, ok := s.releases.Find(e.Version); ok && false {",
		pkg: "warg/pkglog", test: "TestRefusals",
	},
	{
		name: "refused record leaves traces", promise: "G3",
		file: "warg/pkglog/state.go",
		old:  "\t\ts.undo()\n", new: "",
		pkg: "warg", test: "TestLogModel",
	},
	{
		name: "second init resets the log", promise: "G3",
		file: "warg/internal/logstate/rules.go",
		old:  "if c.initialized {\n", new: "if c.initialized && false {\n",
		pkg: "warg/pkglog", test: "TestRefusals",
	},
	{
		name: "record hash of the predecessor not compared", promise: "G3",
		file: "warg/internal/logstate/core.go",
		old:  "case c.hasHead && *f.Prev != warg.Digest(c.head).AnyHash():", new: "case c.hasHead && *f.Prev != warg.Digest(c.head).AnyHash() && false:",
		pkg: "warg/pkglog", test: "TestRefusals",
	},
	{
		name: "record earlier than its predecessor", promise: "G14",
		file: "warg/internal/logstate/core.go",
		old:  "case c.hasHead && f.Time.Compare(c.time) < 0:", new: "case c.hasHead && f.Time.Compare(c.time) < -1:",
		pkg: "warg/pkglog", test: "TestRefusals",
	},
	{
		name: "permission at the head instead of at the length", promise: "G3",
		file: "warg/oplog/history.go",
		old:  "return after > 0 && changes[after-1].holds", new: "return after >= 0 && len(changes) > 0 && changes[len(changes)-1].holds",
		pkg: "warg/oplog", test: "TestCommitHistory",
	},
	{
		name: "namespace defined twice", promise: "G7",
		file: "warg/oplog/state.go",
		old:  "if _, ok := s.namespaces.Find(n.Name); ok {", new: "if _, ok := s.namespaces.Find(n.Name); ok && false {",
		pkg: "warg/oplog", test: "TestRefusals",
	},
	{
		name: "operator granted by who may not", promise: "G3",
		file: "warg/oplog/state.go",
		old:  "if err := s.core.Authorize(signer, PermissionCommit); err != nil {\n\t\treturn err\n\t}\n\treturn s.core.Grant", new: "return s.core.Grant",
		pkg: "warg/oplog", test: "TestRefusals",
	},
	{
		name: "checkpoint's signature not verified", promise: "G3",
		file: "warg/checkpoint.go",
		old:  "if err := key.verify(signCheckpointPrefix, s.claims.Encode(), s.signature); err != nil {", new: "if err := key.verify(signCheckpointPrefix, s.claims.Encode(), s.signature); err != nil && false {",
		pkg: "warg", test: "TestCheckpointTampered",
	},
	{
		name: "root of an inclusion proof not compared", promise: "G3",
		file: "warg/vlog/verify.go",
		old:  "if found != root {", new: "if found != root && false {",
		pkg: "warg/vlog", test: "TestEveryFlippedBit",
	},
	{
		name: "consistency proven from another root", promise: "G4",
		file: "warg/vlog/verify.go",
		old:  "case shorter != from.Root:", new: "case shorter != from.Root && false:",
		pkg: "warg/vlog", test: "TestAllConsistencies",
	},
	{
		name: "proof for another length accepted", promise: "G3",
		file: "warg/vlog/verify.go",
		old:  "case b.Length != to.Length:", new: "case b.Length != to.Length && false:",
		pkg: "warg/vlog", test: "TestVerifyConsistencyMismatch",
	},
	{
		name: "nothing to prove when consistency starts from 0", promise: "G4",
		file: "warg/vlog/evaluate.go",
		old:  "case m == 0:\n\t\treturn shorter, longer, ErrNoProofs", new: "case m == 0:\n\t\treturn shorter, longer, nil",
		pkg: "warg/vlog", test: "TestVerifyConsistencyMismatch",
	},
	{
		name: "root of a map proof not compared", promise: "G3",
		file: "warg/vmap/proof.go",
		old:  "if found != root {", new: "if found != root && false {",
		pkg: "warg/vmap", test: "TestVerifyRefuses",
	},
	{
		name: "missing map proofs accepted", promise: "G3",
		file: "warg/vmap/proof.go",
		old:  "case len(entries) == 0:", new: "case len(entries) == 0 && false:",
		pkg: "warg/vmap", test: "TestVerifyRefuses",
	},
	{
		name: "names differ by case alone", promise: "G7",
		file: "warg/name.go",
		old:  "letter := w[i] >= 'a' && w[i] <= 'z'", new: "letter := w[i]|0x20 >= 'a' && w[i]|0x20 <= 'z'",
		pkg: "warg", test: "TestVectorName",
	},
	{
		name: "digest in upper case accepted", promise: "G3",
		file: "warg/digest.go",
		old:  "case c >= 'a' && c <= 'f':", new: "case c >= 'A' && c <= 'F':\n\t\treturn c - 'A' + 10, true\n\tcase c >= 'a' && c <= 'f':",
		pkg: "warg", test: "FuzzID",
	},
	{
		name: "digest of any length accepted", promise: "G3",
		file: "warg/digest.go",
		old:  "if len(h.raw) != 1+DigestSize {", new: "if len(h.raw) < 1 {",
		pkg: "warg", test: "TestDigestLength",
	},
	{
		name: "duplicate JSON keys accepted", promise: "G3",
		file: "warg/internal/strictjson/decoder.go",
		old:  "if f.seen&(1<<i) != 0 {", new: "if f.seen&(1<<i) != 0 && false {",
		pkg: "warg/internal/strictjson", test: "TestErrors",
	},
	{
		name: "JSON nested without bound", promise: "G9",
		file: "warg/internal/strictjson/value.go",
		old:  "if depth > MaxDepth {", new: "if depth > 1<<30 {",
		pkg: "warg/internal/strictjson", test: "TestDepth",
	},
}
