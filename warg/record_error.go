package warg

// RecordError says why a record, although it decodes, may not follow the records
// before it in its log. Its text is that of the reference implementation, which
// servers hand on to publishers.
type RecordError struct {
	Label string // the protocol's name of the condition, one of the Label constants
	Msg   string // a sentence without a period, for people
}

// Error returns the sentence for people.
func (e *RecordError) Error() string { return e.Msg }

// The labels of a [RecordError], in the order in which the conditions are tested.
const (
	LabelPreviousHashOnFirstRecord  = "PreviousHashOnFirstRecord"
	LabelNoPreviousHashAfterInit    = "NoPreviousHashAfterInit"
	LabelRecordHashDoesNotMatch     = "RecordHashDoesNotMatch"
	LabelProtocolVersionNotAllowed  = "ProtocolVersionNotAllowed"
	LabelTimestampLowerThanPrevious = "TimestampLowerThanPrevious"

	LabelUnauthorizedAction         = "UnauthorizedAction"
	LabelInitialEntryAfterBeginning = "InitialEntryAfterBeginning"
	LabelFirstEntryIsNotInit        = "FirstEntryIsNotInit"
	LabelPermissionNotFoundToRevoke = "PermissionNotFoundToRevoke"
	LabelReleaseOfReleased          = "ReleaseOfReleased"
	LabelYankOfUnreleased           = "YankOfUnreleased"
	LabelYankOfYanked               = "YankOfYanked"
	LabelInvalidNamespace           = "InvalidNamespace"
	LabelNamespaceAlreadyDefined    = "NamespaceAlreadyDefined"

	LabelInitialRecordDoesNotInit = "InitialRecordDoesNotInit"
	LabelKeyIDNotRecognized       = "KeyIDNotRecognized"
	LabelSignatureError           = "SignatureError"
)
