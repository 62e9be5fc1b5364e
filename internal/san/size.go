package san

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// sizeUnits are the suffixes of sizes, as powers of 1024.
const sizeUnits = "KMGTP"

// ParseSize reads a size in bytes: a whole number, or a number with the suffix
// K, M, G or T (powers of 1024; an i and a B behind it are accepted, and lower
// case too). A fraction such as 1.5G must come out as whole bytes.
func ParseSize(s string) (int64, error) {
	bad := func(why string) (int64, error) {
		return 0, Errorf(ErrInvalid, "size %q: %s; write a number of bytes or one with K, M, G or T, such as 512M", s, why)
	}
	num := strings.TrimSuffix(strings.ToUpper(s), "B")
	short, binary := strings.CutSuffix(num, "I")
	shift := 0
	if n := len(short); n > 0 && strings.IndexByte(sizeUnits, short[n-1]) >= 0 {
		shift, num = 10*(strings.IndexByte(sizeUnits, short[n-1])+1), short[:n-1]
	} else if binary {
		return bad("unknown unit")
	}
	if num == "" || strings.Trim(num, "0123456789.") != "" {
		return bad("not a number")
	}
	if !strings.Contains(num, ".") {
		v, err := strconv.ParseInt(num, 10, 64)
		if err != nil || v > math.MaxInt64>>shift {
			return bad("too large")
		}
		return v << shift, nil
	}
	f, err := strconv.ParseFloat(num, 64)
	if err != nil {
		return bad("not a number")
	}
	f *= float64(int64(1) << shift)
	if f > 1<<53 || f != math.Trunc(f) {
		return bad("not a whole number of bytes")
	}
	return int64(f), nil
}

// FormatSize writes n bytes for people: exact where a unit divides it, else
// with one decimal.
func FormatSize(n int64) string {
	if n > -1024 && n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	f, unit := float64(n), -1
	for (f >= 1024 || f <= -1024) && unit < len(sizeUnits)-1 {
		f, unit = f/1024, unit+1
	}
	s := strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0")
	return s + sizeUnits[unit:unit+1]
}
