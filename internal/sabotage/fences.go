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
}
