// Package admin is the operations API: HTTP over a unix socket, for covetctl and the TUI.
//
//	GET  /v1/{op}?id=…       asks; the answer is a JSON document
//	POST /v1/{op}            does; the body is a JSON document of at most 1 MiB, and so is the answer
//	GET  /v1/watch?after=N   the live stream from event N+1 on, one JSON document a line
//	GET  /v1/logs?…          log lines, one JSON document a line
//
// An error is {"code","message","hint"} with a fitting status. In a stream two kinds of lines are not items, and are told
// from them by how they begin: {"heartbeat":TIME} comes whenever nothing else did for a while, so that both sides notice a
// dead peer, and {"error":{…}} is the last line of a stream that failed. A stream that ends without it ended well.
//
// The package knows nothing of what is asked: that is its Backend's, and who may do what as well. It vouches for who asks.
package admin
