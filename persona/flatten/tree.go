package flatten

import (
	"archive/tar"
	"fmt"
	"time"
)

const (
	// maxPathBytes is Linux' PATH_MAX without the final NUL. It also bounds how deep the tree can get.
	maxPathBytes = 4095
	// maxSymlinks is how many symbolic links one lookup follows, as in Linux (path_resolution(7)).
	maxSymlinks = 40
)

// inode is a file without a name; the nodes that share one are hard links of each other.
type inode struct {
	// kind is one of tar's type flags: TypeReg, TypeDir, TypeSymlink, TypeChar, TypeBlock or TypeFifo.
	kind         byte
	mode         int64
	uid, gid     int
	mtime        time.Time
	target       string
	major, minor int64
	xattrs       map[string]string
	// offset and size say where in the spool a regular file's contents are.
	offset, size int64
	// emitted is the first name under which the second pass has written the inode.
	emitted string
}

// node is a name in the tree.
type node struct {
	ino *inode
	// children is nil for all but directories.
	children map[string]*node
	// layer is the one that put the name here, or that gave a directory its present attributes.
	layer int
	// pathBytes is the length of the node's full path.
	pathBytes int
}

func (n *node) isDir() bool { return n.ino.kind == tar.TypeDir }

// tree is the image as the layers read so far make it.
type tree struct {
	root       *node
	layer      int
	entries    int
	maxEntries int
}

func newTree(maxEntries int) *tree {
	return &tree{root: &node{ino: impliedDir(), children: map[string]*node{}}, maxEntries: maxEntries}
}

// impliedDir is a directory that layers use and none describes.
func impliedDir() *inode {
	return &inode{kind: tar.TypeDir, mode: 0o755, mtime: time.Unix(0, 0)}
}

func (t *tree) beginLayer() { t.layer++ }

func (t *tree) countEntry() error {
	if t.entries++; t.entries > t.maxEntries {
		return fmt.Errorf("%w: it has more than %d names", ErrTooLarge, t.maxEntries)
	}
	return nil
}

// put gives name to ino. A directory that is put over a directory keeps the children; all else is replaced with all below it.
func (t *tree) put(name []string, ino *inode) error {
	if len(name) == 0 {
		if ino.kind != tar.TypeDir {
			return fmt.Errorf("%w: the root is not a directory", ErrMalformed)
		}
		t.root.ino, t.root.layer = ino, t.layer
		return t.countEntry()
	}
	dir, base, err := t.parentOf(name)
	if err != nil {
		return err
	}
	if old := dir.children[base]; old != nil && old.isDir() && ino.kind == tar.TypeDir {
		old.ino, old.layer = ino, t.layer
		return t.countEntry()
	}
	_, err = t.attach(dir, base, ino)
	return err
}

// link gives name to the inode that target has.
func (t *tree) link(name, target []string) error {
	if len(name) == 0 || len(target) == 0 {
		return fmt.Errorf("%w: a hard link from or to the root", ErrMalformed)
	}
	found, err := t.lookup(target)
	if err != nil {
		return err
	}
	if found == nil {
		return fmt.Errorf("%w: a hard link to %q, which does not exist", ErrMalformed, joinName(target))
	}
	if found.isDir() {
		return fmt.Errorf("%w: a hard link to %q, a directory", ErrMalformed, joinName(target))
	}
	dir, base, err := t.parentOf(name)
	if err != nil {
		return err
	}
	_, err = t.attach(dir, base, found.ino)
	return err
}

// attach makes a new node, in place of the one that has its name.
func (t *tree) attach(dir *node, base string, ino *inode) (*node, error) {
	n := &node{ino: ino, layer: t.layer, pathBytes: dir.pathBytes + 1 + len(base)}
	if n.pathBytes > maxPathBytes {
		return nil, fmt.Errorf("%w: a path of more than %d bytes", ErrMalformed, maxPathBytes)
	}
	if err := t.countEntry(); err != nil {
		return nil, err
	}
	if ino.kind == tar.TypeDir {
		n.children = map[string]*node{}
	}
	dir.children[base] = n
	return n, nil
}

func (t *tree) parentOf(name []string) (dir *node, base string, err error) {
	last := len(name) - 1
	dir, err = t.walk(name[:last], true)
	return dir, name[last], err
}

// lookup returns the node of name, nil where there is none. A final symbolic link is not followed.
func (t *tree) lookup(name []string) (*node, error) {
	last := len(name) - 1
	dir, err := t.walk(name[:last], false)
	if err != nil || dir == nil {
		return nil, err
	}
	return dir.children[name[last]], nil
}

// walk returns the directory that name leads to from the root, through symbolic links, which cannot lead above the root.
// Where there is none it makes the missing directories or, if make is false, returns nil.
func (t *tree) walk(name []string, makeDirs bool) (*node, error) {
	stack := []*node{t.root}
	todo := name
	for links := 0; len(todo) > 0; {
		step := todo[0]
		todo = todo[1:]
		if step == ".." {
			stack = stack[:max(1, len(stack)-1)]
			continue
		}
		dir := stack[len(stack)-1]
		next := dir.children[step]
		if next != nil && next.ino.kind == tar.TypeSymlink {
			if links++; links > maxSymlinks {
				return nil, fmt.Errorf("%w: too many symbolic links in %q", ErrMalformed, joinName(name))
			}
			todo = append(splitTarget(next.ino.target), todo...)
			if next.ino.target != "" && next.ino.target[0] == '/' {
				stack = stack[:1]
			}
			continue
		}
		if next == nil || !next.isDir() {
			made, err := t.makeDir(dir, step, makeDirs)
			if made == nil || err != nil {
				return nil, err
			}
			next = made
		}
		stack = append(stack, next)
	}
	return stack[len(stack)-1], nil
}

// makeDir makes a directory that a layer uses without describing it. It replaces what is no directory in a lower layer, as a
// union mount would show it; in the layer's own files that is a contradiction.
func (t *tree) makeDir(dir *node, base string, allowed bool) (*node, error) {
	if !allowed {
		return nil, nil
	}
	if old := dir.children[base]; old != nil && old.layer == t.layer {
		return nil, fmt.Errorf("%w: %q is not a directory", ErrMalformed, base)
	}
	return t.attach(dir, base, impliedDir())
}
