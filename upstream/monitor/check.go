package monitor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// MaxEvidence is the size of the largest evidence file in bytes. Only a proof that
// has a ledger is longer than some kilobytes.
const MaxEvidence = 512 << 20

// Verdict is what an evidence file proves.
type Verdict struct {
	Class       string       `json:"class"`
	Reason      string       `json:"reason"`      // what cannot both be true; found by the check, not read
	Registry    string       `json:"registry"`    // whom the finder meant; not proven by anything
	Keys        []warg.KeyID `json:"keys"`        // whose word is broken: keys that were trusted, or would have to be
	Checkpoints []Statement  `json:"checkpoints"` // what was signed
}

// Statement is a signed checkpoint of a verdict.
type Statement struct {
	LogLength uint64      `json:"logLength"`
	LogRoot   warg.Digest `json:"logRoot"`
	MapRoot   warg.Digest `json:"mapRoot"`
	Timestamp uint64      `json:"timestamp"`
	KeyID     warg.KeyID  `json:"keyId"`
}

// CheckEvidence checks an evidence file. Trusted are ids of keys that the reader
// knows, from elsewhere, to be the registry's; nothing else is needed.
//
// Without any the file is checked as if its signers were trusted: it then proves
// that whoever has the keys of the verdict lied, and whose they are is for the reader
// to find out.
func CheckEvidence(file []byte, trusted []warg.KeyID) (Verdict, error) {
	e, err := readEvidence(file)
	if err != nil {
		return Verdict{}, err
	}
	x := examination{file: e, trusted: trusted, keys: map[warg.KeyID]publicKey{}, speaksFor: map[warg.KeyID]warg.KeyID{}}
	if err := x.identify(); err != nil {
		return Verdict{}, err
	}
	v := Verdict{Registry: e.Registry}
	for _, c := range x.checkpoints {
		v.Checkpoints = append(v.Checkpoints, Statement{c.length, c.logRoot, c.mapRoot, c.timestamp, c.signed.KeyID()})
		if key := x.speaksFor[c.signed.KeyID()]; !slices.Contains(v.Keys, key) {
			v.Keys = append(v.Keys, key)
		}
	}
	if v.Class, v.Reason, err = x.judge(); err != nil {
		return Verdict{}, err
	}
	if v.Class != e.Class {
		return Verdict{}, fmt.Errorf("the file claims to prove %q, but what it has is %q", e.Class, v.Class)
	}
	return v, nil
}

// readEvidence reads an evidence file. Members are named exactly and stand once, so
// that all readers find the same in it.
func readEvidence(file []byte) (e evidenceFile, err error) {
	if len(file) > MaxEvidence {
		return e, fmt.Errorf("an evidence file of %d bytes, more than %d", len(file), MaxEvidence)
	}
	members := map[string]any{
		"format": &e.Format, "registry": &e.Registry, "class": &e.Class, "reason": &e.Reason, "foundAt": &e.FoundAt,
		"publicKeys": &e.PublicKeys, "checkpoints": &e.Checkpoints, "consistency": &e.Consistency,
		"operatorLogs": &e.OperatorLogs, "ledger": &e.Ledger,
	}
	d := json.NewDecoder(bytes.NewReader(file))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return e, errors.Join(errors.New("reading evidence: it is not a JSON object"), err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return e, fmt.Errorf("reading evidence: %w", err)
		}
		into, ok := members[fmt.Sprint(name)]
		if !ok {
			return e, fmt.Errorf("reading evidence: member %q is unknown or stands twice", name)
		}
		delete(members, fmt.Sprint(name))
		if err := d.Decode(into); err != nil {
			return e, fmt.Errorf("reading evidence: member %q: %w", name, err)
		}
	}
	_, err = d.Token() // the end of the object
	if _, end := d.Token(); err != nil || !errors.Is(end, io.EOF) {
		return e, errors.New("reading evidence: something follows the JSON object, or its end is missing")
	}
	if e.Format != evidenceFormat {
		return e, fmt.Errorf("evidence of format %d; this program knows format %d", e.Format, evidenceFormat)
	}
	return e, nil
}

// examination is a check under way.
type examination struct {
	file        evidenceFile
	trusted     []warg.KeyID
	keys        map[warg.KeyID]publicKey
	speaksFor   map[warg.KeyID]warg.KeyID // signer -> the trusted key by which it counts
	checkpoints []checkpoint
}

// identify reads keys, operator logs and checkpoints, and verifies the signatures.
func (x *examination) identify() error {
	for _, t := range x.file.PublicKeys {
		k, err := warg.ParsePublicKey(t)
		if err != nil {
			return fmt.Errorf("reading a public key: %w", err)
		}
		if err := x.learn(k); err != nil {
			return err
		}
	}
	for i, records := range x.file.OperatorLogs {
		if err := x.operatorLog(records); err != nil {
			return fmt.Errorf("operator log %d: %w", i, err)
		}
	}
	for i, body := range x.file.Checkpoints {
		if err := x.checkpoint(body); err != nil {
			return fmt.Errorf("checkpoint %d: %w", i, err)
		}
	}
	return nil
}

func (x *examination) learn(k warg.PublicKey) error {
	key, err := readKey(k)
	if err != nil {
		return err
	}
	x.keys[key.id] = key
	if len(x.trusted) == 0 || slices.Contains(x.trusted, key.id) {
		x.speaksFor[key.id] = key.id
	}
	return nil
}

// operatorLog takes over the keys that a trusted key's operator log ever let sign
// checkpoints. A log that another key began adds nothing; a reader may trust one of
// the later keys instead.
func (x *examination) operatorLog(bodies []json.RawMessage) error {
	var records []warg.Record
	for i, body := range bodies {
		r, err := api.ParseRecord(body)
		if err != nil {
			return fmt.Errorf("reading record %d: %w", i, err)
		}
		records = append(records, r)
	}
	op, err := replay(records)
	if err != nil {
		return err
	}
	counts := len(x.trusted) == 0 || slices.Contains(x.trusted, op.beganBy)
	for id, key := range op.keys {
		x.keys[id] = key
		if counts && op.everMay(id) && !slices.Contains(x.trusted, id) {
			x.speaksFor[id] = op.beganBy
		}
	}
	return nil
}

func (x *examination) checkpoint(body []byte) error {
	signed, err := api.ParseCheckpoint(body)
	if err != nil {
		return err
	}
	c, err := readCheckpoint(signed)
	if err != nil {
		return err
	}
	id := signed.KeyID()
	if _, ok := x.speaksFor[id]; !ok {
		return fmt.Errorf("it is signed by key `%s`, which is not trusted", id)
	}
	key, ok := x.keys[id]
	if !ok || !c.signedBy(key) {
		return fmt.Errorf("the signature of key `%s` is wrong or cannot be verified", id)
	}
	x.checkpoints = append(x.checkpoints, c)
	return nil
}

// judge says what the checkpoints prove. The signatures have been verified.
func (x *examination) judge() (class, reason string, err error) {
	hasProof, hasLedger := len(x.file.Consistency) > 0, len(x.file.Ledger) > 0
	n := len(x.checkpoints)
	if n == 0 || n > 2 || n == 1 && !hasLedger || hasProof && hasLedger {
		return "", "", fmt.Errorf("%d checkpoints, and not the one proof that belongs to them", n)
	}
	if hasLedger {
		return x.judgeLedger()
	}
	shorter, longer := x.checkpoints[0], x.checkpoints[1]
	if shorter.length > longer.length {
		shorter, longer = longer, shorter
	}
	switch {
	case hasProof:
		return judgeConsistency(x.file.Consistency, shorter, longer)
	case shorter.length == longer.length && !shorter.sameView(longer):
		return ClassEquivocation, fmt.Sprintf("two checkpoints of length %d have different roots", longer.length), nil
	case shorter.length < longer.length && shorter.timestamp > longer.timestamp:
		return ClassRewind, fmt.Sprintf("length %d was signed at %d, after length %d was signed at %d",
			shorter.length, shorter.timestamp, longer.length, longer.timestamp), nil
	}
	return "", "", errors.New("both checkpoints can be true")
}

func judgeConsistency(proof []byte, shorter, longer checkpoint) (class, reason string, err error) {
	if shorter.length == longer.length {
		return "", "", errors.New("checkpoints of one length need no proof of consistency")
	}
	old, root, err := consistency(proof, shorter.length, longer.length)
	switch {
	case err != nil:
		return "", "", fmt.Errorf("reading the proof: %w", err)
	case root != longer.logRoot:
		return "", "", fmt.Errorf("the proof does not lead to the log root that is signed for length %d", longer.length)
	case old == shorter.logRoot:
		return "", "", errors.New("the proof shows that both checkpoints are of one log")
	}
	return ClassEquivocation, fmt.Sprintf("the log of length %d does not extend the log of length %d", longer.length, shorter.length), nil
}

// judgeLedger rebuilds both roots from the ledger, at the length of each checkpoint.
func (x *examination) judgeLedger() (class, reason string, err error) {
	length := uint64(len(x.file.Ledger) / leafSize)
	if len(x.file.Ledger)%leafSize != 0 {
		return "", "", errors.New("the ledger does not consist of whole leaves")
	}
	var lengths []uint64
	for _, c := range x.checkpoints {
		lengths = append(lengths, c.length)
	}
	built, err := rebuild(bytes.NewReader(x.file.Ledger), length, lengths)
	if err != nil {
		return "", "", err
	}
	signedFor := func(c checkpoint) bool { return c.length == length && built[length].logRoot == c.logRoot }
	if !slices.ContainsFunc(x.checkpoints, signedFor) {
		return "", "", fmt.Errorf("the ledger of %d leaves does not lead to a log root that is signed", length)
	}
	for _, c := range x.checkpoints {
		switch own, ok := built[c.length]; {
		case !ok: // longer than the ledger
		case own.logRoot != c.logRoot:
			return ClassEquivocation, fmt.Sprintf("the log of length %d does not extend the log of length %d", length, c.length), nil
		case own.mapRoot != c.mapRoot:
			return ClassEquivocation, fmt.Sprintf("the map of length %d is not that of the signed log", c.length), nil
		}
	}
	return "", "", errors.New("the ledger leads to all roots that are signed")
}
