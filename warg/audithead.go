package warg

// signAuditHead keeps signatures under the head of an audit log apart from those of the
// protocol: none can be taken for another.
const signAuditHead = "ENTREPOT-AUDIT-HEAD-SIGNATURE-V0"

// SignAuditHead signs a statement about where an audit log stood. It is not part of the
// protocol.
func (k PrivateKey) SignAuditHead(statement []byte) Signature {
	return k.sign(signAuditHead, statement)
}

// VerifyAuditHead checks a signature of [PrivateKey.SignAuditHead].
func (k PublicKey) VerifyAuditHead(statement []byte, sig Signature) error {
	return k.verify(signAuditHead, statement, sig)
}
