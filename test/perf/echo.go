package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// echoPart is the far end of roundTrips: ADDRESS REQUEST ANSWER. It answers each REQUEST bytes with ANSWER bytes, on one
// connection.
func echoPart(args []string) error {
	if len(args) != 3 {
		return errors.New("want ADDRESS REQUEST ANSWER")
	}
	request, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	answer, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	if request < 1 || answer < 1 || max(request, answer) > 1<<24 {
		return fmt.Errorf("a request of %d bytes and an answer of %d; use 1 to %d", request, answer, 1<<24)
	}
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	c, err := l.Accept()
	if err != nil {
		return err
	}
	in, out := make([]byte, request), make([]byte, answer)
	for {
		if _, err := io.ReadFull(c, in); err != nil {
			return err // the near end is done
		}
		if _, err := c.Write(out); err != nil {
			return err
		}
	}
}

func roundTrip(c net.Conn, out, in []byte) error {
	if _, err := c.Write(out); err != nil {
		return err
	}
	_, err := io.ReadFull(c, in)
	return err
}
