package attach

import (
	"strconv"
	"strings"

	"sango/internal/initiator"
	"sango/internal/san"
)

// Source is what is attached: exactly one of its groups is set.
type Source struct {
	URLs []initiator.URL // portals of one target, and a LUN

	Volume string // a volume of the node whose directory composition knows

	Size      int64 // of a volume in memory, bytes
	BlockSize int   // of that, bytes
}

const sourceForm = "write it as iscsi://HOST[:PORT]/IQN/LUN[,iscsi://...], volume:NAME, or mem:SIZE[,block=512|4096]"

// ParseSource reads a source as people write it.
func ParseSource(s string) (Source, error) {
	switch kind, rest, _ := strings.Cut(s, ":"); kind {
	case "iscsi":
		return parseURLs(s)
	case "volume":
		if err := san.CheckName("volume", rest); err != nil {
			return Source{}, err
		}
		return Source{Volume: rest}, nil
	case "mem":
		return parseMemory(rest)
	}
	return Source{}, san.Errorf(san.ErrInvalid, "source %q: %s", clip(s), sourceForm)
}

// parseURLs reads a list of URLs. A secret may hold a comma.
func parseURLs(s string) (src Source, err error) {
	const scheme = "iscsi://"
	for i, part := range strings.Split(s, ","+scheme) {
		if i > 0 {
			part = scheme + part
		}
		u, err := initiator.ParseURL(part)
		if err != nil {
			return Source{}, san.Errorf(san.ErrInvalid, "%v", err)
		}
		if first := append(src.URLs, u)[0]; u.Target != first.Target || u.LUN != first.LUN {
			return Source{}, san.Errorf(san.ErrInvalid, "%v and %v name different volumes: all URLs of one attachment name portals of one target, and one LUN", first, u)
		}
		src.URLs = append(src.URLs, u)
	}
	return src, nil
}

func parseMemory(s string) (Source, error) {
	parts := strings.Split(s, ",")
	src := Source{BlockSize: san.BlockSize512}
	var err error
	if src.Size, err = san.ParseSize(parts[0]); err != nil {
		return Source{}, err
	}
	for _, opt := range parts[1:] {
		v, ok := strings.CutPrefix(opt, "block=")
		n, err := strconv.Atoi(v)
		if !ok || err != nil || n != san.BlockSize512 && n != san.BlockSize4096 {
			return Source{}, san.Errorf(san.ErrInvalid, "option %q of a volume in memory: there are block=512 and block=4096", opt)
		}
		src.BlockSize = n
	}
	if src.Size <= 0 || src.Size%int64(src.BlockSize) != 0 {
		return Source{}, san.Errorf(san.ErrInvalid, "a volume in memory of %s: give a multiple of its block size, %d bytes", parts[0], src.BlockSize)
	}
	return src, nil
}

// String returns the source as people write it, without secrets.
func (s Source) String() string {
	switch {
	case len(s.URLs) > 0:
		var all []string
		for _, u := range s.URLs {
			all = append(all, u.String())
		}
		return strings.Join(all, ",")
	case s.Volume != "":
		return "volume:" + s.Volume
	}
	return "mem:" + san.FormatSize(s.Size) + ",block=" + strconv.Itoa(s.BlockSize)
}

// same reports whether text, the String of a source, names the same volume:
// the portals to reach it by may be others.
func (s Source) same(text string) bool {
	o, err := ParseSource(text)
	switch {
	case err != nil:
		return false
	case len(s.URLs) > 0 && len(o.URLs) > 0:
		return s.URLs[0].Target == o.URLs[0].Target && s.URLs[0].LUN == o.URLs[0].LUN
	}
	return s.String() == o.String()
}

// Name returns the name of an attachment of s that was given none.
func (s Source) Name() string {
	name := "mem"
	switch {
	case len(s.URLs) > 0:
		u := s.URLs[0]
		name = u.Target[strings.LastIndexAny(u.Target, ":.")+1:] + "-" + strconv.Itoa(int(u.LUN))
	case s.Volume != "":
		name = s.Volume
	}
	clean := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '-'
	}, name)
	clean = strings.TrimLeft(clean, "-_.")
	return clean[:min(len(clean), maxName)]
}

// maxName bounds the name of an attachment: it is part of the path of a unix
// socket, which has at most 107 bytes.
const maxName = 48

func checkName(name string) error {
	if err := san.CheckName("attachment", name); err != nil {
		return err
	}
	if len(name) > maxName {
		return san.Errorf(san.ErrInvalid, "the name of attachment %s has %d characters; use at most %d", name, len(name), maxName)
	}
	return nil
}

// clip shortens what somebody gave for an error message.
func clip(s string) string { return s[:min(len(s), 80)] }
