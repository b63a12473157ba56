// Tinyworker answers every request with 200 and its own version, and does nothing else: hundreds of it fit on one machine.
// It speaks as much HTTP as covetd's probes and balancer need, so as to have none of net/http's memory.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "tinyworker:", err)
		os.Exit(1)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "tinyworker:", err)
			os.Exit(1)
		}
		go answer(c)
	}
}

// answer answers one request after the other, until the client has enough. Requests have no bodies.
func answer(c net.Conn) {
	defer c.Close() //nolint:errcheck // the client has its answers
	body := os.Getenv("COVET_INSTANCE") + "\n"
	reply := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	r := bufio.NewReaderSize(c, 2048)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if strings.TrimRight(line, "\r\n") != "" {
			continue
		}
		if _, err := c.Write([]byte(reply)); err != nil {
			return
		}
	}
}
