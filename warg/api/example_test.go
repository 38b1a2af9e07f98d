package api_test

import (
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// A server writes an error, and the client on the other side of the wire can still
// ask what kind it is.
func ExampleParseError() {
	missing := warg.NotFound(warg.KindLogNotFound, warg.OperatorLogID)
	status, body := api.Status(missing.Kind), api.AppendError(nil, missing)
	fmt.Println(status, string(body))

	err := api.ParseError(api.OpLogs.Family(), status, body)
	fmt.Println(errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}))
	// Output:
	// 404 {"status":404,"type":"log","id":"sha256:0db9178aabc877b42f03a038bf453ee53f08e3c8c55fab916043428078596bfb"}
	// true
}

func ExampleParseLogsRequest() {
	_, err := api.ParseLogsRequest([]byte(`{"logLength":"5"}`))
	fmt.Println(api.Status(api.AsError(err).Kind), err)

	req, err := api.ParseLogsRequest([]byte(`{"logLength":5,"operator":null}`))
	fmt.Println(req.LogLength, err)
	// Output:
	// 422 Failed to deserialize the JSON body into the target type: logLength: expected an unsigned integer; found a string
	// 5 <nil>
}

func ExampleAppendLogsRequest() {
	hello, err := warg.ParsePackageName("example:hello")
	if err != nil {
		panic(err)
	}
	req := warg.LogsRequest{LogLength: 42, Packages: []warg.LogCursor{{LogID: hello.LogID()}}}
	fmt.Printf("POST /%s\n%s\n", api.PathLogs, api.AppendLogsRequest(nil, req))
	// Output:
	// POST /v1/fetch/logs
	// {"logLength":42,"packages":{"sha256:071fda594d2219ee6a4b8fb7deb6e10f01a6dcf4890f2c120c973e5b0fe134d3":null}}
}

func ExampleSegmentLogID() {
	id, err := api.SegmentLogID("sha256%3A0db9178aabc877b42f03a038bf453ee53f08e3c8c55fab916043428078596bfb")
	fmt.Println(id == warg.OperatorLogID, err)

	_, err = api.SegmentLogID("sha512:00")
	fmt.Println(err)
	// Output:
	// true <nil>
	// Invalid URL: unable to parse hash algorithm: Illegal hash algorithm 'sha512'
}
