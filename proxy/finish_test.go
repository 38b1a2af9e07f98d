package proxy

import "testing"

// TestQuietPath: what almost is an address to upload to is not logged as a whole.
func TestQuietPath(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/nothing":                      "/v1/nothing",
		"/v1/upload/right":                 "/v1/upload/…",
		"/v1/upload/right/more":            "/v1/upload/…",
		"/base/V1/Upload/right":            "/base/V1/Upload/…",
		"/v1/%75pload/right":               "/v1/upload/…",
		"/v1%2fupload%2Fright":             "/v1/upload/…",
		"//v1//upload//right":              "//v1//upload/…",
		"/\u0130\u0130\u0130/upload/right": "/\u0130\u0130\u0130/upload/…",
		"/upload/":                         "/upload/…",
		"/upload":                          "/upload",
		"/v1/upload/%zz":                   "/v1/upload/…",
		"":                                 "",
	} {
		if got := quietPath(path); got != want {
			t.Errorf("%q is logged as %q, want %q", path, got, want)
		}
	}
}
