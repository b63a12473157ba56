// Package proxy is covetd's balancer between the releases of a service on one machine.
//
// A [Balancer] is an http.Handler. Ready instances Join it and Leave it; SetWeights splits the requests between their
// releases, exactly and without a random element; a request with "x-canary: true" goes to the candidate release.
// Within a release the instance with the fewest requests in flight is chosen.
//
// A request takes this way, one file a station:
//
//	exchange.go   ServeHTTP: prepare, then attempt until an instance has answered
//	request.go    what is sent to an instance, serialised once (hop.go, forwarded.go say which fields)
//	table.go      who gets it; hold.go waits where nobody is ready
//	pool.go       a connection to that instance; conn.go reads and writes it
//	upload.go     a body too large to be sent in one piece
//	response.go   the answer's head, parsed strictly; chunked.go and relay.go pass its body on
//	upgrade.go    what happens after 101 Switching Protocols; websocket.go closes WebSockets at a drain
//	failure.go    what the client is told when there is no answer to pass on
//
// The client side of HTTP/1.1 is written here rather than taken from net/http.Transport: that one costs two goroutines
// for a connection and several hand-overs between them for each request. Here the goroutine of the request itself
// writes and reads the connection; only a large request body or an upgraded connection takes a second one.
//
// Nothing that an instance sends is forwarded before it has been understood: two lengths, a length and a transfer coding,
// an unknown transfer coding, a malformed chunk or a head over the limit make a 502 (RFC 9112, sections 6.3 and 11.2).
package proxy
