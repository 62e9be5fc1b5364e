package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/san"
)

// maxSecretFile bounds what is read of a secret file, in bytes.
const maxSecretFile = 4096

// readSecret returns the contents of a secret file without one line break at
// its end.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, san.Errorf(san.ErrNotFound, "there is no secret file %s", path)
	} else if err != nil {
		return nil, fmt.Errorf("secret file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("secret file: %w", err)
	case len(b) > maxSecretFile:
		return nil, san.Errorf(san.ErrInvalid, "secret file %s is longer than any secret; name the right one", path)
	}
	s, broken := strings.CutSuffix(string(b), "\n")
	if broken {
		s = strings.TrimSuffix(s, "\r")
	}
	return []byte(s), nil
}

// accountFlags describe CHAP accounts: one by the four simple flags, any
// number by --chap.
type accountFlags struct {
	users, secretFiles []string // pairwise
	mutualUser         string
	mutualSecretFile   string
	chap               []string // USER=FILE[,TARGETUSER=FILE]
}

// replacement adds the flags of a command that changes accounts to f's.
type replacement struct {
	accountFlags
	none bool
}

func (r *replacement) add(c *cobra.Command) {
	r.accountFlags.add(c)
	c.Flags().BoolVar(&r.none, "no-chap", false, "take all accounts away: no authentication is asked")
}

// replace returns the accounts that take the place of those there are, nil
// where they stay.
func (r *replacement) replace() (*v1.Accounts, error) {
	acc, err := r.accounts()
	switch {
	case err != nil:
		return nil, err
	case r.none && len(acc) > 0:
		return nil, usage("--no-chap takes all accounts away: give it alone, or give accounts")
	case r.none || len(acc) > 0:
		return &v1.Accounts{Accounts: acc}, nil
	}
	return nil, nil
}

func (f *accountFlags) add(c *cobra.Command) {
	p := c.Flags()
	p.StringArrayVar(&f.users, "chap-user", nil, "CHAP user that hosts log in as; repeat both flags for more accounts")
	p.StringArrayVar(&f.secretFiles, "chap-secret-file", nil, "file with that user's secret, 12 bytes or longer")
	p.StringVar(&f.mutualUser, "mutual-user", "", "mutual CHAP: the user that the target answers as")
	p.StringVar(&f.mutualSecretFile, "mutual-secret-file", "", "file with the target's secret")
	p.StringArrayVar(&f.chap, "chap", nil, "another account as `USER=FILE[,TARGETUSER=FILE]`; may be repeated")
}

// accounts reads the secrets and returns the accounts.
func (f *accountFlags) accounts() ([]*v1.Account, error) {
	if len(f.users) != len(f.secretFiles) {
		return nil, usage("%d --chap-user and %d --chap-secret-file: give one file for each user", len(f.users), len(f.secretFiles))
	}
	var out []*v1.Account
	add := func(user, file, mutualUser, mutualFile string) error {
		a := &v1.Account{User: user, MutualUser: mutualUser}
		var err error
		if a.Secret, err = readSecret(file); err != nil {
			return err
		}
		if mutualFile != "" {
			if a.MutualSecret, err = readSecret(mutualFile); err != nil {
				return err
			}
		}
		c := san.CHAP{User: a.User, Secret: string(a.Secret), MutualUser: a.MutualUser, MutualSecret: string(a.MutualSecret)}
		out = append(out, a)
		return c.Check()
	}
	if (f.mutualUser == "") != (f.mutualSecretFile == "") {
		return nil, usage("mutual CHAP needs both --mutual-user and --mutual-secret-file")
	}
	if f.mutualUser != "" && len(f.users) == 0 {
		return nil, usage("mutual CHAP goes with an account of the host: give --chap-user and --chap-secret-file too")
	}
	for i := range f.users {
		if err := add(f.users[i], f.secretFiles[i], f.mutualUser, f.mutualSecretFile); err != nil {
			return nil, err
		}
	}
	for _, s := range f.chap {
		oneWay, back, mutual := strings.Cut(s, ",")
		user, file, ok := strings.Cut(oneWay, "=")
		mutualUser, mutualFile, ok2 := strings.Cut(back, "=")
		if !ok || mutual && !ok2 {
			return nil, usage("--chap %q: write it as USER=FILE or USER=FILE,TARGETUSER=FILE", s)
		}
		if err := add(user, file, mutualUser, mutualFile); err != nil {
			return nil, fmt.Errorf("--chap %s: %w", user, err)
		}
	}
	return out, nil
}
