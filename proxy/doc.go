// Package proxy is the HTTP server: it takes requests apart, selects the one
// registry that each is meant for, and writes down what that registry answers.
// It is the only package that knows fasthttp, and it decides nothing about what
// is true: registries verify, the proxy carries.
//
// A request passes, in this order,
//
//  1. the [listener], which accepts for ever and caps connections;
//  2. the gate ([inspect]), which refuses every head that two HTTP
//     implementations could read differently, and closes the connection;
//  3. the route table ([endpoints]), data that also makes /openapi.json and the
//     reference page;
//  4. path parameters, then [Federation.Select], then content type and length;
//  5. the handler, which reads the body through [body] and nothing else;
//  6. the writers in answer.go, which write every body and every error.
//
// What is not here: storage, verification, policy. Admin operations are
// interfaces declared in admin.go, served on a listener of their own.
//
//	s, err := proxy.New(proxy.Options{Own: authority, BaseURL: "https://pkg.example.com"})
//	if err != nil {
//		return err
//	}
//	ln, err := net.Listen("tcp", "127.0.0.1:8090")
//	if err != nil {
//		return err
//	}
//	return s.Serve(ln)
package proxy
