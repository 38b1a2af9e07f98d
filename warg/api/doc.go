// Package api is the HTTP surface of the Warg protocol without the HTTP: paths,
// headers, JSON bodies of requests and answers, and error bodies, each in both
// directions, so that a server and a client that use it cannot disagree.
//
// Functions named Append… write a body behind dst and return the extended slice,
// in the style of [strconv.AppendInt]. Functions named Parse… read a body; what
// they return never aliases the input.
//
// Both directions are strict, because either side may be hostile: member names
// are case-sensitive, a member stands only once, required members are there,
// digests have 32 bytes, and lists have bounds. Unknown members are ignored,
// except in the request of [OpLogs], as the protocol has it. Bytes after the JSON
// value are ignored.
//
// Parse functions of requests return a [*warg.Error] whose kind and message are
// what the client is to be told. Parse functions of answers return plain errors:
// what they mean is for the caller to say.
//
// Nothing that was parsed here is verified; see [warg.SignedCheckpoint.Open] and
// the packages pkglog, oplog, vlog and vmap.
package api
