package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"time"
)

// serveDial lets processes outside the node's network make connections in it: a line with the address, answered by a line that
// is empty or says why not, and then the connection itself.
func serveDial(socket string) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go dialFor(conn)
		}
	}()
	return nil
}

func dialFor(conn net.Conn) {
	defer conn.Close()
	address, err := line(conn)
	if err != nil {
		return
	}
	there, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		fmt.Fprintln(conn, err)
		return
	}
	defer there.Close()
	if _, err := fmt.Fprintln(conn); err == nil {
		join(conn, there)
	}
}

// greet asks for a connection to address.
func greet(conn net.Conn, address string) error {
	if _, err := fmt.Fprintln(conn, address); err != nil {
		return err
	}
	answer, err := line(conn)
	if err == nil && answer != "" {
		err = fmt.Errorf("%s", answer)
	}
	return err
}

// line reads a line and not a byte more.
func line(conn net.Conn) (string, error) {
	text, err := bufio.NewReaderSize(oneByte{conn}, 16).ReadString('\n')
	return strings.TrimSuffix(text, "\n"), err
}

// oneByte never reads ahead.
type oneByte struct{ net.Conn }

func (o oneByte) Read(p []byte) (int, error) { return o.Conn.Read(p[:1]) }
