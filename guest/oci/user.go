package oci

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/virtual-kubelet/vic/guest/volume"
)

// ErrUser says that a user or a group is not in the image.
var ErrUser = errors.New("no such user")

const (
	maxAccounts = 1 << 20 // bytes of /etc/passwd or /etc/group
	maxID       = 1<<32 - 2
)

// LookUpUser resolves "user[:group]" in the image at rootfs. A user given by name, or by a number that /etc/passwd knows,
// has the group from there, and where no group is given those of /etc/group that list it. Empty is root.
func LookUpUser(rootfs, user string) (specs.User, error) {
	passwd, err := accounts(rootfs, "/etc/passwd")
	if err != nil {
		return specs.User{}, err
	}
	groups, err := accounts(rootfs, "/etc/group")
	if err != nil {
		return specs.User{}, err
	}
	return parseUser(user, passwd, groups)
}

// accounts reads a file of lines with fields between colons. A missing file has none.
func accounts(rootfs, name string) ([][]string, error) {
	f, err := volume.Open(rootfs, name, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up users: %w", err)
	}
	defer f.Close()
	var lines [][]string
	s := bufio.NewScanner(io.LimitReader(f, maxAccounts))
	for s.Scan() {
		if fields := strings.Split(s.Text(), ":"); len(fields) >= 3 {
			lines = append(lines, fields)
		}
	}
	return lines, s.Err()
}

func parseUser(user string, passwd, groups [][]string) (specs.User, error) {
	name, group, hasGroup := strings.Cut(user, ":")
	if name == "" {
		name = "0"
	}
	var u specs.User
	entry := find(passwd, name)
	uid, isNumber := number(name)
	switch {
	case entry != nil:
		id, ok := number(entry[2])
		if !ok {
			return u, fmt.Errorf("%w: %q has id %q", ErrUser, name, entry[2])
		}
		u.UID = id
		if len(entry) > 3 {
			if u.GID, ok = number(entry[3]); !ok {
				return u, fmt.Errorf("%w: %q has group id %q", ErrUser, name, entry[3])
			}
		}
	case isNumber:
		u.UID = uid
	default:
		return u, fmt.Errorf("%w: unable to find user %s: no matching entries in passwd file", ErrUser, name)
	}
	if hasGroup && group != "" {
		return u, setGroup(&u, group, groups)
	}
	if entry != nil {
		u.AdditionalGids = supplementary(entry[0], u.GID, groups)
	}
	return u, nil
}

func setGroup(u *specs.User, group string, groups [][]string) error {
	text := group
	if entry := find(groups, group); entry != nil {
		text = entry[2]
	}
	gid, ok := number(text)
	if !ok {
		return fmt.Errorf("%w: unable to find group %s: no matching entries in group file", ErrUser, group)
	}
	u.GID = gid
	return nil
}

// find returns the first entry with that name, or else with that number.
func find(entries [][]string, nameOrID string) []string {
	for _, field := range []int{0, 2} {
		i := slices.IndexFunc(entries, func(e []string) bool { return e[field] == nameOrID })
		if i >= 0 {
			return entries[i]
		}
	}
	return nil
}

func number(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n <= maxID
}

func supplementary(user string, primary uint32, groups [][]string) []uint32 {
	var ids []uint32
	for _, g := range groups {
		if len(g) < 4 || !slices.Contains(strings.Split(g[3], ","), user) {
			continue
		}
		if id, ok := number(g[2]); ok && id != primary && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}
