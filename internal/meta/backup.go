package meta

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/san"
)

// A backup is lines of text, the same from every form of store:
//
//	{"sango_backup":1,"schema":2,"revision":812,"created":"..."}
//	{"key":"volumes/...","value":"<base64>"}      one for each key at that revision, in order
//	{"keys":57,"sha256":"<of all the lines before>"}
//
// It has everything below /sango/v1/ except the claim: who serves the volumes
// is not a property of what is backed up. Heartbeats and elections are not
// below it.
type backupHead struct {
	Format   int       `json:"sango_backup"`
	Schema   int       `json:"schema"`
	Revision int64     `json:"revision"`
	Created  time.Time `json:"created"`
}

type backupKey struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

type backupEnd struct {
	Keys   *int   `json:"keys"`
	SHA256 string `json:"sha256"`
}

// backupFormat is the version of the format that this program writes and
// reads.
const backupFormat = 1

// backupPage is how many keys are read at a time.
const backupPage = 1000

// Backup writes the store at one revision, as it is at the call, while others
// use it.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	sum := sha256.New()
	out := bufio.NewWriter(io.MultiWriter(w, sum))
	line := func(v any) error {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if _, err = out.Write(append(b, '\n')); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		return nil
	}
	head := backupHead{Format: backupFormat, Created: time.Now().UTC()}
	if err := s.Update(ctx, func(tx *Tx) (err error) {
		head.Schema, err = tx.schema()
		head.Revision = tx.rev
		return err
	}); err != nil {
		return err
	}
	if err := line(head); err != nil {
		return err
	}
	n := 0
	for from := prefix; ; {
		resp, err := s.read(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithLimit(backupPage), clientv3.WithRev(head.Revision))
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			from = string(kv.Key) + "\x00"
			key := strings.TrimPrefix(string(kv.Key), prefix)
			if key == claimKey {
				continue
			}
			if err := line(backupKey{key, kv.Value}); err != nil {
				return err
			}
			n++
		}
		if !resp.More {
			break
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := line(backupEnd{&n, hex.EncodeToString(sum.Sum(nil))}); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// BackupInfo is what a backup says of itself.
type BackupInfo struct {
	Schema   int       `json:"schema"`
	Revision int64     `json:"revision"`
	Created  time.Time `json:"created"`
	Keys     int       `json:"keys"`
}

// maxBackupLine bounds a line of a backup: etcd takes no larger value.
const maxBackupLine = 2 * maxRequest

// ReadBackup reads a backup and calls each for every key; it fails at the end
// where the backup is cut short or damaged.
func ReadBackup(r io.Reader, each func(key string, value []byte) error) (info BackupInfo, err error) {
	damaged := func(what string) error {
		return san.Errorf(san.ErrInvalid, "this is no whole backup of sango's metadata: %s; take another one", what)
	}
	sum := sha256.New()
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxBackupLine)
	var head backupHead
	if !in.Scan() || json.Unmarshal(in.Bytes(), &head) != nil || head.Format == 0 {
		return info, damaged("it does not begin like one")
	}
	if head.Format > backupFormat {
		return info, san.Errorf(san.ErrRefused, "the backup has format %d and this program reads up to %d; use the newer sango that wrote it", head.Format, backupFormat)
	}
	info = BackupInfo{Schema: head.Schema, Revision: head.Revision, Created: head.Created}
	sum.Write(append(bytes.Clone(in.Bytes()), '\n'))
	for in.Scan() {
		b := in.Bytes()
		var end backupEnd
		if bytes.HasPrefix(b, []byte(`{"keys"`)) && json.Unmarshal(b, &end) == nil && end.Keys != nil {
			if *end.Keys != info.Keys || end.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
				return info, damaged("its checksum is wrong")
			}
			if in.Scan() {
				return info, damaged("there is more behind its end")
			}
			return info, nil
		}
		var k backupKey
		if err := json.Unmarshal(b, &k); err != nil || k.Key == "" {
			return info, damaged(fmt.Sprintf("line %d can't be read", info.Keys+2))
		}
		sum.Write(append(bytes.Clone(b), '\n'))
		info.Keys++
		if err := each(k.Key, k.Value); err != nil {
			return info, err
		}
	}
	if err := in.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return info, fmt.Errorf("backup: %w", err)
	}
	return info, damaged("its end is missing")
}
