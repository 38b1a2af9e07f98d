package main

// storageMutants break what is written, in which order, and what is believed of it
// when it is read again.
var storageMutants = []mutant{
	{
		name: "pending fdatasync off", promise: "G1", short: true,
		file: "authority/pending/log.go",
		old:  "\treturn s.Sync()\n}\n\nfunc noSpace", new: "\treturn nil\n}\n\nfunc noSpace",
		pkg: "authority/pending", test: "TestPowerCutAtEveryCall",
	},
	{
		name: "a segment of submissions that cannot be read taken for one that is gone", promise: "G1",
		file: "authority/pending/load.go",
		old:  "if errors.Is(err, fs.ErrNotExist) {\n\t\treturn numbers, nil", new: "if errors.Is(err, fs.ErrNotExist) || err != nil {\n\t\treturn numbers, nil",
		pkg: "authority/pending", test: "TestFailedOpeningLosesNothing",
	},
	{
		name: "segment fdatasync off", promise: "G1",
		file: "authority/segment/write.go",
		old:  "if err := s.file.Datasync(); err != nil {", new: "if err := error(nil); err != nil {",
		pkg: "authority/journal", test: "TestPowerCutAtEveryCall",
	},
	{
		name: "segment's name not synced", promise: "G1",
		file: "authority/segment/write.go",
		old:  "if err := d.FS.SyncDir(d.Path); err != nil {\n\t\treturn err\n\t}\n\treturn d.step(\"segDirSynced\")", new: "return d.step(\"segDirSynced\")",
		pkg: "authority/journal", test: "TestPowerCutAtEveryCall",
	},
	{
		name: "replaced file's name not synced", promise: "G1", short: true,
		file: "internal/durable/write.go",
		old:  "if err := fsys.SyncDir(filepath.Dir(name)); err != nil {", new: "if err := error(nil); err != nil {",
		pkg: "internal/durable", test: "TestReplaceSurvivesPowerCuts",
	},
	{
		name: "replaced file not synced", promise: "G1",
		file: "internal/durable/write.go",
		old:  "\treturn f.Sync()\n}\n\n// MkdirAll", new: "\treturn nil\n}\n\n// MkdirAll",
		pkg: "internal/durable", test: "TestReplaceSurvivesPowerCuts",
	},
	{
		name: "new directory not synced", promise: "G1",
		file: "internal/durable/write.go",
		old:  "\treturn fsys.SyncDir(parent)\n}\n\n// fillChunk", new: "\treturn nil\n}\n\n// fillChunk",
		pkg: "internal/durable", test: "TestMkdirAllSurvivesPowerCuts",
	},
	{
		name: "content not synced", promise: "G1",
		file: "internal/cas/round.go",
		old:  "if err := u.file.Sync(); err != nil {", new: "if err := error(nil); err != nil {",
		pkg: "internal/cas", test: "TestPowerCuts",
	},
	{
		name: "content's name not synced", promise: "G1",
		file: "internal/cas/round.go",
		old:  "\terr := s.fs.SyncDir(dir)\n", new: "\tvar err error\n",
		pkg: "internal/cas", test: "TestPowerCuts",
	},
	{
		name: "content's directory not synced", promise: "G1",
		file: "internal/cas/put.go",
		old:  "if err := s.fs.SyncDir(s.dir); err != nil {", new: "if err := error(nil); err != nil {",
		pkg: "internal/cas", test: "TestPowerCuts",
	},
	{
		name: "names left by a killed process not synced", promise: "G1",
		file: "internal/cas/store.go",
		old:  "group.Go(func() error { return s.fs.SyncDir(filepath.Join(s.dir, e.Name())) })", new: "group.Go(func() error { return nil })",
		pkg: "authority", test: "TestKilledTwice",
	},
	{
		name: "history fdatasync off", promise: "G1",
		file: "authority/anchor/history.go",
		old:  "if err := h.file.Datasync(); err != nil {", new: "if err := error(nil); err != nil {",
		pkg: "authority/anchor", test: "TestHistoryPowerCuts",
	},
	{
		name: "fsync error ignored", promise: "G1",
		file: "authority/segment/write.go",
		old:  "return fmt.Errorf(\"syncing segment %s: %w\", s.Path(), err)", new: "return nil",
		pkg: "authority/pending", test: "TestErrorsEndTheLog",
	},
	{
		name: "fsync tried again after an error", promise: "G1",
		file: "authority/segment/write.go",
		old:  "if err := s.file.Datasync(); err != nil {", new: "if err := s.file.Datasync(); err != nil && s.file.Datasync() != nil {",
		pkg: "authority/pending", test: "TestErrorsEndTheLog",
	},
	{
		name: "lack of space in a sync taken back", promise: "G1",
		file: "internal/durable/error.go",
		old:  "strings.Contains(strings.ToLower(p.Op), \"sync\")", new: "strings.Contains(strings.ToLower(p.Op), \"\\x00\")",
		pkg: "internal/durable", test: "TestNoSpaceFromASyncIsFinal",
	},
	{
		name: "writing goes on after a storage error", promise: "G1",
		file: "authority/admit.go",
		old:  "\tif !errors.Is(err, pending.ErrClosed) {\n\t\ta.fail(err)\n\t}\n", new: "\tif !errors.Is(err, pending.ErrClosed) {\n\t\treturn unavailable(\"try again\")\n\t}\n",
		pkg: "authority", test: "TestStorageErrorsAreFinal",
	},
	{
		name: "footer of a segment not synced", promise: "G1",
		file: "authority/segment/write.go",
		old:  "if err := s.file.Sync(); err != nil {\n\t\treturn err\n\t}\n\tif err := s.file.Truncate(s.end + int64(len(footer))); err != nil {\n\t\treturn err\n\t}\n\treturn s.file.Sync()", new: "return s.file.Truncate(s.end + int64(len(footer)))",
		pkg: "authority/journal", test: "TestPowerCutAtEveryCall",
	},
	{
		name: "frame's checksum not compared", promise: "G12",
		file: "authority/segment/format.go",
		old:  "return crc32.Update(crc32.Checksum(place[:], castagnoli()), castagnoli(), payload)", new: "return crc32.Checksum(place[:], castagnoli()) + uint32(0*len(payload))",
		pkg: "authority/segment", test: "TestEveryFlipIsNoticed",
	},
	{
		name: "frame accepted in another place", promise: "G12",
		file: "authority/segment/format.go",
		old:  "binary.BigEndian.PutUint64(place[8:], uint64(offset))", new: "binary.BigEndian.PutUint64(place[8:], uint64(0*offset))",
		pkg: "authority/segment", test: "TestFrameOfAnotherPlace",
	},
	{
		name: "header's checksum not compared", promise: "G12",
		file: "authority/segment/format.go",
		old:  "case binary.BigEndian.Uint32(b[92:]) != crc32.Checksum(b[:92], castagnoli()):", new: "case false:",
		pkg: "authority/segment", test: "TestEveryFlipIsNoticed",
	},
	{
		name: "damaged content served", promise: "G12", short: true,
		file: "internal/cas/verify.go",
		old:  "if found != d {\n\t\treturn 0, s.setAside", new: "if false {\n\t\treturn 0, s.setAside",
		pkg: "internal/cas", test: "TestDamageIsNoticed",
	},
	{
		name: "content kept under any digest", promise: "G3",
		file: "internal/cas/put.go",
		old:  "if found := warg.Digest(h.Sum(nil)); found != want {", new: "if found := warg.Digest(h.Sum(nil)); found != want && size < 0 {",
		pkg: "internal/cas", test: "TestPutRefuses",
	},
	{
		name: "content policy asked before the digest is known", promise: "G3",
		file: "internal/cas/put.go",
		old:  "\tsize, err := s.copy(f, h, body, c)\n", new: "\tsize, err := s.copy(f, h, body, c)\n\tif c.Accept != nil {\n\t\t_ = c.Accept()\n\t}\n",
		pkg: "internal/cas", test: "TestAcceptComesAfterDigest",
	},
	{
		name: "size of content not bounded", promise: "G9",
		file: "internal/cas/put.go",
		old:  "if size += int64(n); size > c.MaxSize {", new: "if size += int64(n); size > 2*c.MaxSize {",
		pkg: "internal/cas", test: "TestPutRefuses",
	},
	{
		name: "anchor that prints otherwise accepted", promise: "G12",
		file: "authority/anchor/anchor.go",
		old:  "if err == nil && string(a.encode()) != text {", new: "if err == nil && false {",
		pkg: "authority/anchor", test: "TestParseIsStrict",
	},
	{
		name: "old map root not computed from the same nodes", promise: "G12",
		file: "warg/vmap/update.go",
		old:  "if found[i] != old.want {", new: "if found[i] != old.want && false {",
		pkg: "internal/tree", test: "TestSealedDamage",
	},
	{
		name: "old leaf not computed from the same nodes", promise: "G12",
		file: "warg/vmap/update.go",
		old:  "if c.got != c.want {", new: "if c.got != c.want && false {",
		pkg: "warg/vmap", test: "TestCorruptStore",
	},
	{
		name: "value of another key accepted", promise: "G12",
		file: "internal/tree/frame.go",
		old:  "\th.Write(key)\n", new: "",
		pkg: "internal/tree", test: "TestValueOfAnotherKey",
	},
}
