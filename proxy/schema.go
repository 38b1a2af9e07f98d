package proxy

import "github.com/entrepot/entrepot/warg"

// schema is a JSON Schema.
type schema map[string]any

func object(required []string, members schema) schema {
	return schema{"type": "object", "required": required, "properties": members}
}

func listOf(items schema) schema { return schema{"type": "array", "items": items} }

func mapOf(values schema) schema {
	return schema{"type": "object", "additionalProperties": values, "propertyNames": schema{"$ref": "#/components/schemas/Digest"}}
}

func ref(name string) schema { return schema{"$ref": "#/components/schemas/" + name} }

func text(about string) schema { return schema{"type": "string", "description": about} }

func oneOf(values ...string) schema { return schema{"type": "string", "enum": values} }

func natural(about string) schema {
	return schema{"type": "integer", "minimum": 0, "description": about}
}

func orNull(s schema) schema { return schema{"oneOf": []schema{s, {"type": "null"}}} }

func encoded(about string) schema {
	return schema{"type": "string", "contentEncoding": "base64", "description": about}
}

// schemas returns the named schemas of all JSON bodies.
func schemas() map[string]schema {
	all := valueSchemas()
	for name, s := range requestSchemas() {
		all[name] = s
	}
	for name, s := range answerSchemas() {
		all[name] = s
	}
	return all
}

func valueSchemas() map[string]schema {
	return map[string]schema{
		"Digest": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$", "description": "a SHA-256 digest"},
		"Signature": {"type": "string", "pattern": "^ecdsa-p256:[A-Za-z0-9+/]+={0,2}$",
			"description": "an ECDSA P-256 signature, DER in base64"},
		"PackageName": {"type": "string", "maxLength": warg.MaxNameBytes,
			"pattern": "^[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*:[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*$"},
		"SignedCheckpoint": object([]string{"contents", "keyId", "signature"}, schema{
			"contents": object([]string{"logRoot", "logLength", "mapRoot", "timestamp"}, schema{
				"logRoot":   ref("Digest"),
				"logLength": natural("leaves of the log"),
				"mapRoot":   ref("Digest"),
				"timestamp": natural("when it was signed, seconds since 1970"),
			}),
			"keyId":     ref("Digest"),
			"signature": ref("Signature"),
		}),
		"Envelope": object([]string{"contentBytes", "keyId", "signature"}, schema{
			"contentBytes": encoded("the record as it was signed, a protobuf"),
			"keyId":        ref("Digest"),
			"signature":    ref("Signature"),
		}),
		"Record": object([]string{"contentBytes", "keyId", "signature", "registryIndex", "fetchToken"}, schema{
			"contentBytes":  encoded("the record as it was signed, a protobuf"),
			"keyId":         ref("Digest"),
			"signature":     ref("Signature"),
			"registryIndex": natural("position in the registry's log"),
			"fetchToken":    text("opaque: continues after this record"),
		}),
	}
}

func requestSchemas() map[string]schema {
	token := orNull(text("fetch token of the last record known"))
	return map[string]schema{
		"FetchLogsRequest": {
			"type": "object", "required": []string{"logLength"}, "additionalProperties": false,
			"properties": schema{
				"logLength": natural("length of a checkpoint; records at or beyond it are hidden"),
				"limit": orNull(schema{"type": "integer", "minimum": 1, "maximum": warg.MaxFetchLimit, "default": warg.DefaultFetchLimit,
					"description": "records of each log"}),
				"operator": token,
				"packages": mapOf(token),
			},
		},
		"FetchNamesRequest": object([]string{"packages"}, schema{"packages": listOf(ref("Digest"))}),
		"PublishRequest": object([]string{"packageName", "record"}, schema{
			"packageName":    ref("PackageName"),
			"record":         ref("Envelope"),
			"contentSources": schema{"type": "object", "maxProperties": 0, "description": "not supported"},
		}),
		"ConsistencyRequest": object([]string{"from", "to"}, schema{
			"from": natural("the shorter length, at least 1"),
			"to":   natural("the longer length"),
		}),
		"InclusionRequest": object([]string{"logLength", "leafs"}, schema{
			"logLength": natural("length of a checkpoint"),
			"leafs": schema{"type": "array", "items": natural("a registry index"), "minItems": 1, "maxItems": warg.MaxLeaves,
				"description": "registry indexes of head records"},
		}),
	}
}

func answerSchemas() map[string]schema {
	upload := object([]string{"type", "method", "url"}, schema{
		"type": oneOf("http"), "method": oneOf("POST", "PUT"), "url": text("absolute, or relative to the base URL"),
	})
	source := object([]string{"type", "url"}, schema{
		"type": oneOf("httpGet"), "url": text("absolute"), "acceptRanges": schema{"type": "boolean"}, "size": natural("bytes"),
	})
	return map[string]schema{
		"FetchLogsResponse": object([]string{"more"}, schema{
			"more":     schema{"type": "boolean", "description": "some list is as long as the limit allows"},
			"operator": listOf(ref("Record")),
			"packages": mapOf(listOf(ref("Record"))),
			"warnings": listOf(object([]string{"message"}, schema{"message": text("for people")})),
		}),
		"FetchNamesResponse": object([]string{"packages"}, schema{"packages": mapOf(orNull(ref("PackageName")))}),
		"RecordStatus": object([]string{"recordId", "state"}, schema{
			"recordId":       ref("Digest"),
			"state":          oneOf("sourcing", "processing", "rejected", "published"),
			"missingContent": mapOf(object([]string{"upload"}, schema{"upload": listOf(upload)})),
			"reason":         text("why it was rejected"),
			"registryIndex":  natural("where it was published"),
		}),
		"ContentSources":      object([]string{"contentSources"}, schema{"contentSources": mapOf(listOf(source))}),
		"ConsistencyResponse": object([]string{"proof"}, schema{"proof": encoded("a log proof bundle")}),
		"InclusionResponse": object([]string{"log", "map"}, schema{
			"log": encoded("a log proof bundle"), "map": encoded("a map proof bundle"),
		}),
		"VerifyResponse": object([]string{"checkpoint", "signature"}, schema{
			"checkpoint": oneOf("verified", "invalid", "unverified"),
			"signature":  oneOf("verified", "invalid", "unverified"),
			"retryAfter": natural("seconds after which to ask again"),
		}),
		"Ledger": object([]string{"hashAlgorithm", "sources"}, schema{
			"hashAlgorithm": oneOf("sha256"),
			"sources": listOf(object([]string{"firstRegistryIndex", "lastRegistryIndex", "url", "contentType"}, schema{
				"firstRegistryIndex": natural("included"),
				"lastRegistryIndex":  natural("included"),
				"url":                text("absolute, or relative to the base URL"),
				"acceptRanges":       schema{"type": "boolean"},
				"contentType":        oneOf("application/vnd.warg.ledger.packed"),
			})),
		}),
		"WellKnown": object([]string{"preferredProtocol", "warg"}, schema{
			"preferredProtocol": oneOf("warg", "oci"),
			"warg":              object([]string{"url"}, schema{"url": text("base URL of the registry")}),
		}),
		"Health": object([]string{"status"}, schema{"status": oneOf("ok")}),
		"Ready":  object([]string{"status"}, schema{"status": oneOf("ok"), "quarantined": listOf(text("domain of an upstream that is believed nothing more until the operator decides"))}),
		"Error":  errorSchema(),
	}
}

// errorSchema describes every error body. Which members there are depends on what
// went wrong.
func errorSchema() schema {
	return object([]string{"status"}, schema{
		"status":  natural("the HTTP status"),
		"message": text("for people"),
		"type":    oneOf("log", "record", "namespace", "contentDigest", "fetchToken", "logLength", "leaf", "namespaceImport"),
		"id":      schema{"type": []string{"string", "integer"}, "description": "what was not found or conflicts; a number for logLength and leaf"},
		"reason":  oneOf("failure", "incorrectProof", "packageNotIncluded"),
		"root":    ref("Digest"),
		"found":   ref("Digest"),
		"log_id":  ref("Digest"),
	})
}
