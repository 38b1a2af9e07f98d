// Package wargtest tests implementations of [warg.Registry] and [warg.Publisher],
// and offers what such tests need.
//
// [TestRegistry] and [TestPublisher] are conformance suites: a package that has an
// implementation calls them with a function that makes one. Everything the
// interfaces promise is checked, down to the kinds of error, with the verifiers
// that clients use. A suite knows an implementation only as a [Subject].
//
// [Memory] is a registry in memory that passes both suites. It is written to be
// obviously right, not fast, and serves as the upstream of replicas and as the
// registry behind servers under test.
//
// [Package] writes chains of signed package records; [Component] makes content that
// every content policy accepts. The keys are the published test keys of the
// protocol: whoever holds them holds nothing.
package wargtest
