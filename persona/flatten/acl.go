package flatten

import (
	"encoding/binary"
	"fmt"
)

// Tags of access control list entries that carry a user or group (Linux, include/uapi/linux/posix_acl.h).
const (
	aclUser  = 0x02
	aclGroup = 0x08
)

// Versions of the list as an attribute (posix_acl_xattr.h) and on an ext4 disk (fs/ext4/acl.h).
const (
	aclXattrVersion = 2
	aclExt4Version  = 1
)

func isACL(name string) bool {
	return name == "system.posix_acl_access" || name == "system.posix_acl_default"
}

// ext4ACL rewrites an access control list from the form that programs and archives know to the one on an ext4 disk, where
// only entries for a named user or group have an id. The kernel refuses every access to a file whose list it cannot read.
func ext4ACL(value string) (string, error) {
	const header, entry = 4, 8
	v := []byte(value)
	if len(v) < header || (len(v)-header)%entry != 0 || binary.LittleEndian.Uint32(v) != aclXattrVersion {
		return "", fmt.Errorf("%w: not an access control list", ErrMalformed)
	}
	out := binary.LittleEndian.AppendUint32(nil, aclExt4Version)
	for v = v[header:]; len(v) > 0; v = v[entry:] {
		tag := binary.LittleEndian.Uint16(v)
		out = append(out, v[:4]...)
		if tag == aclUser || tag == aclGroup {
			out = append(out, v[4:entry]...)
		}
	}
	return string(out), nil
}
