package block

import "fmt"

// Validate checks r against what a device with info can do, and returns nil
// or the *Error that the request has to end with: Unsupported for an operation
// or flag that the device has not, ReadOnly for a change on a read-only
// device, Invalid for a shape that the contract forbids. Drivers call it first
// thing in Submit. A request of no bytes is valid anywhere up to Info.Size and
// has no effect.
func Validate(r *Request, info *Info) error {
	switch r.Op {
	case OpRead, OpWrite, OpDiscard, OpWriteZeroes:
	case OpFlush:
		if r.Off != 0 || r.Len != 0 || len(r.Bufs) != 0 || r.Flags&^NoWait != 0 {
			return Fail(r, Invalid, fmt.Errorf("a flush has neither range, buffers nor flags %#x", r.Flags))
		}
		return nil
	default:
		return Fail(r, Unsupported, fmt.Errorf("operation %d is unknown", r.Op))
	}
	if bad := r.Flags &^ legal(r.Op); bad != 0 {
		return Fail(r, Invalid, fmt.Errorf("flags %#x mean nothing to a %s", bad, r.Op))
	}
	if err := validateRange(r, info); err != nil {
		return err
	}
	if r.Op != OpRead && info.Caps.ReadOnly {
		return Fail(r, ReadOnly, nil)
	}
	return validateCaps(r, info)
}

// legal returns the flags that op may carry.
func legal(op Op) Flags {
	switch op {
	case OpWrite:
		return FUA | NoWait | Atomic
	case OpWriteZeroes:
		return FUA | NoWait | MayUnmap
	case OpDiscard:
		return FUA | NoWait
	}
	return NoWait
}

func validateRange(r *Request, info *Info) error {
	bs := int64(info.BlockSize)
	switch {
	case r.Off < 0 || r.Len < 0 || r.Off > info.Size || r.Len > info.Size-r.Off:
		return Fail(r, Invalid, fmt.Errorf("outside the volume of %d bytes", info.Size))
	case r.Off%bs != 0 || r.Len%bs != 0:
		return Fail(r, Invalid, fmt.Errorf("not aligned to blocks of %d bytes", bs))
	}
	var n int64
	for _, b := range r.Bufs {
		n += int64(len(b))
	}
	if r.Op == OpRead || r.Op == OpWrite {
		if n != r.Len {
			return Fail(r, Invalid, fmt.Errorf("buffers hold %d bytes", n))
		}
	} else if n != 0 {
		return Fail(r, Invalid, fmt.Errorf("a %s carries no data, but %d bytes came", r.Op, n))
	}
	return nil
}

func validateCaps(r *Request, info *Info) error {
	c := &info.Caps
	switch {
	case r.Op == OpDiscard && c.Discard == None, r.Op == OpWriteZeroes && c.WriteZeroes == None:
		return Fail(r, Unsupported, nil)
	case r.Flags&FUA != 0 && c.FUA == None:
		return Fail(r, Unsupported, fmt.Errorf("the device has no FUA"))
	case r.Flags&Atomic != 0 && c.AtomicMax == 0:
		return Fail(r, Unsupported, fmt.Errorf("the device has no atomic writes"))
	case r.Flags&Atomic != 0 && r.Len > c.AtomicMax:
		return Fail(r, Invalid, fmt.Errorf("the longest atomic write is %d bytes", c.AtomicMax))
	}
	return nil
}
