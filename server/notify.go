package server

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// notifier tells systemd about the service's state: datagrams of NAME=value lines to the socket that NOTIFY_SOCKET names
// (sd_notify(3)). Without one it does nothing.
type notifier struct {
	addr     *net.UnixAddr
	watchdog time.Duration // how often WATCHDOG=1 has to be sent; 0: never
}

func newNotifier(getenv func(string) string, pid int) notifier {
	name := getenv("NOTIFY_SOCKET")
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "@") {
		return notifier{}
	}
	n := notifier{addr: &net.UnixAddr{Name: name, Net: "unixgram"}} // net turns a leading @ into the abstract namespace's NUL
	usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64)
	owner := getenv("WATCHDOG_PID")
	if err == nil && usec > 0 && (owner == "" || owner == strconv.Itoa(pid)) {
		n.watchdog = time.Duration(usec) * time.Microsecond / 2
	}
	return n
}

// send sends one message of one or more lines.
func (n notifier) send(lines ...string) error {
	if n.addr == nil {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, n.addr)
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	_, err = c.Write([]byte(strings.Join(lines, "\n")))
	if err := errors.Join(err, c.Close()); err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}

// reloading returns the message that begins a reload; systemd compares its time with that of READY=1.
func reloading() []string {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return []string{"RELOADING=1"}
	}
	return []string{"RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", ts.Nano()/1000)}
}
