package proxy

import (
	"bytes"
	"net"
	"net/http"
	"strings"
)

// switchProtocols passes 101 on and then bytes both ways, until both sides have ended. stop detaches the connection from
// the request's context.
func (x *exchange) switchProtocols(c *conn, resp *response, stop func() bool) *failure {
	if !strings.EqualFold(resp.upgrade, x.out.upgrade) {
		return malformedAnswer(faulty("it switches to %q when asked for %q", resp.upgrade, x.out.upgrade))
	}
	h := x.w.Header()
	copyFields(h, resp)
	x.sign(h)
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{resp.upgrade}
	if !stop() || c.expectWhenever() != nil {
		return abandoned(x.ctx)
	}
	client, rw, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return &failure{kind: notInstance, status: http.StatusInternalServerError, code: "no_upgrade",
			text: "the client's connection cannot be upgraded", cause: err}
	}
	// What the client has sent already is in the server's buffer.
	early, err := rw.Peek(rw.Reader.Buffered())
	if err == nil {
		err = writeSwitch(client, h)
	}
	if err != nil {
		return closing(client, clientLost(err))
	}
	x.in.answered(resp.status)
	x.in.upgrade()
	x.in.release()
	x.upgraded = true
	t := newTunnel(client, c, strings.EqualFold(resp.upgrade, "websocket"))
	x.in.tunnels.run(t, early, &x.in.counters)
	return nil
}

// writeSwitch sends the head of the answer to the hijacked connection.
func writeSwitch(client net.Conn, h http.Header) error {
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	if err := h.Write(&head); err != nil {
		return err
	}
	head.WriteString("\r\n")
	_, err := client.Write(head.Bytes())
	return err
}

// closing closes a hijacked connection on the way out with a failure.
func closing(client net.Conn, fail *failure) *failure {
	_ = client.Close() // it has failed already
	return fail
}
