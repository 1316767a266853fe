package vsphere

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrLoginRefused says that vSphere does not take the user's password. Showing one again and again locks the account.
var ErrLoginRefused = errors.New("the password is refused")

// refusalLife is longer than the time in which accounts are locked for a few wrong passwords.
const refusalLife = 5 * time.Minute

// Refusals remembers passwords that vSphere did not take, for all sessions that share it: who shows one again and again locks
// the account. The zero value remembers nothing yet; it is safe for concurrent use.
type Refusals struct {
	mu sync.Mutex // guards of
	of map[account]refusal
}

type account struct{ address, user string }

type refusal struct {
	hash [sha256.Size]byte
	at   time.Time
	err  error
}

func (r *Refusals) note(t Target, password string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[account]refusal{}
	}
	r.of[account{t.Address, t.User}] = refusal{hash: sha256.Sum256([]byte(password)), at: time.Now(), err: err}
}

// remembers answers for vSphere, for a while.
func (r *Refusals) remembers(t Target, password string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.of[account{t.Address, t.User}]
	if last.err != nil && last.hash == sha256.Sum256([]byte(password)) && time.Since(last.at) < refusalLife {
		return fmt.Errorf("not asked again before %s, or with another password: %w", last.at.Add(refusalLife).Format(time.TimeOnly), last.err)
	}
	return nil
}
