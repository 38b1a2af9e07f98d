// Package backup copies a registry of our own to another directory while it is used, and
// back.
//
// What makes the copy consistent is the order in which things are captured, so that the
// server need not take part. Submissions come first: what is accepted and not published
// stands there, and if it is published meanwhile the copy publishes it again. Then the
// anchor is read, and with it what the copy is of: the history up to its checkpoint and
// the journal up to its length, neither of which ever changes again. Content comes last,
// as it is there before a record that needs it. The anchor is written when everything
// else is durable, so an interrupted backup has none and opens fenced.
//
// SHA256SUMS lists every file and its digest, as sha256sum reads it. It shows decay, not
// forgery: it has no signature. Neither index nor cache nor the operator's key are in a
// backup.
package backup
