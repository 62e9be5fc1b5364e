package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"connectrpc.com/connect"

	"sango/internal/san"
)

// kinds pairs the kinds of failure with the codes they travel under.
var kinds = []struct {
	kind error
	code connect.Code
}{
	{san.ErrNotFound, connect.CodeNotFound},
	{san.ErrExists, connect.CodeAlreadyExists},
	{san.ErrRefused, connect.CodeFailedPrecondition},
	{san.ErrInvalid, connect.CodeInvalidArgument},
	{san.ErrUnavailable, connect.CodeUnavailable},
	{san.ErrUnknown, connect.CodeAborted},
}

// Moved is the error of a call about a volume that changed nothing, because this
// gateway does not have the volume (any more): it is tried again where it is now.
func Moved(volume string) error { return &movedError{volume} }

type movedError struct{ volume string }

// Error implements error.
func (e *movedError) Error() string {
	return "volume " + e.volume + " has moved to another gateway in this moment; try again"
}

// Unwrap returns its kind.
func (e *movedError) Unwrap() error { return san.ErrUnavailable }

// movedMark is what a movedError travels with.
const movedMark = "Sango-Moved"

// moved reports whether a call is to be tried again elsewhere.
func moved(err error) bool {
	ce := (*connect.Error)(nil)
	return errors.As(err, new(*movedError)) || errors.As(err, &ce) && ce.Meta().Get(movedMark) != ""
}

// toWire gives an error the code of its kind. The text travels as it is.
func toWire(err error) error {
	if err == nil {
		return nil
	}
	if ce := (*connect.Error)(nil); errors.As(err, &ce) {
		return err
	}
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			ce := connect.NewError(k.code, err)
			if moved(err) {
				ce.Meta().Set(movedMark, "yes")
			}
			return ce
		}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	}
	return connect.NewError(connect.CodeUnknown, err)
}

// lost reports whether the connection broke under a call.
func lost(err error) bool {
	op := (*net.OpError)(nil)
	return errors.As(err, &op) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF)
}

// FromWire turns an error of a client call into one of package san's kinds,
// with the server's own text.
func FromWire(err error) error {
	if e := (*san.Error)(nil); errors.As(err, &e) {
		return e // from dialing: the text that net/http put around it says less
	}
	if lost(err) {
		return &san.Error{Kind: san.ErrUnavailable, Text: fmt.Sprintf("the node went away in the middle of it (%v): look whether it runs, and what it did, before trying again", err)}
	}
	ce := (*connect.Error)(nil)
	if err == nil || !errors.As(err, &ce) {
		return err
	}
	for _, k := range kinds {
		if ce.Code() == k.code {
			return &san.Error{Kind: k.kind, Text: ce.Message()}
		}
	}
	switch ce.Code() {
	case connect.CodeDeadlineExceeded:
		return &san.Error{Kind: san.ErrUnavailable, Text: ce.Message()}
	case connect.CodeUnimplemented:
		return &san.Error{Kind: san.ErrRefused, Text: "the node runs another version of sango that has no such call; use the same version on both sides"}
	}
	return errors.New(ce.Message())
}
