package flatten

import (
	"archive/tar"
	"fmt"
	"strings"
)

const (
	// maxPathBytes is Linux' PATH_MAX without the final NUL. It also bounds how deep the tree can get.
	maxPathBytes = 4095
	// maxSymlinks is how many symbolic links one lookup follows, as in Linux (path_resolution(7)).
	maxSymlinks = 40
	// maxSteps bounds the parts of a path that one lookup takes, those of symbolic links included: a layer of nothing but
	// detours would otherwise keep a processor busy for an hour.
	maxSteps = 4096
)

// inode is a file without a name; the nodes that share one are hard links of each other.
type inode struct {
	// kind is one of tar's type flags: TypeReg, TypeDir, TypeSymlink, TypeChar, TypeBlock or TypeFifo.
	kind         byte
	mode         uint16
	uid, gid     uint32
	nanos        uint32
	major, minor uint32
	// links is the number of names, which the second pass counts.
	links   uint32
	seconds int64
	target  string
	xattrs  []xattr
	// offset and size say where in the spool a regular file's contents are.
	offset, size int64
	// emitted is the first name under which the second pass has written an inode of several names.
	emitted string
}

func (ino *inode) metadataBytes() int {
	n := len(ino.target)
	for _, x := range ino.xattrs {
		n += len(x.name) + len(x.value)
	}
	return n
}

// node is a name in the tree.
type node struct {
	ino *inode
	// children is nil for all but directories, and for empty ones.
	children map[string]*node
	// layer is the one that put the name here, or that gave a directory its present attributes; pruned is the last one
	// that hid all of a directory that lower layers had put there.
	layer, pruned int32
	// pathBytes is the length of the node's full path, depth the number of its parts.
	pathBytes, depth int32
}

func (n *node) isDir() bool { return n.ino.kind == tar.TypeDir }

func (n *node) add(base string, child *node) {
	if n.children == nil {
		n.children = map[string]*node{}
	}
	n.children[base] = child
}

// tree is the image as the layers read so far make it.
type tree struct {
	budget
	root  *node
	layer int32
}

func newTree(limits Limits) *tree {
	return &tree{budget: budget{limits: limits}, root: &node{ino: impliedDir()}}
}

// impliedDir is a directory that layers use and none describes.
func impliedDir() *inode {
	return &inode{kind: tar.TypeDir, mode: 0o755}
}

func (t *tree) beginLayer() { t.layer++ }

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
		return fmt.Errorf("%w: a hard link to %q, which does not exist", ErrMalformed, abbreviate(joinName(target)))
	}
	if found.isDir() {
		return fmt.Errorf("%w: a hard link to %q, a directory", ErrMalformed, abbreviate(joinName(target)))
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
	n := &node{ino: ino, layer: t.layer, pathBytes: dir.pathBytes + 1 + int32(len(base)), depth: dir.depth + 1}
	if n.pathBytes > maxPathBytes {
		return nil, fmt.Errorf("%w: a path of more than %d bytes", ErrMalformed, maxPathBytes)
	}
	if err := t.countName(n); err != nil {
		return nil, err
	}
	// A copy: base is part of a header that would otherwise stay as a whole.
	dir.add(strings.Clone(base), n)
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
	w := walker{stack: []*node{t.root}, todo: name}
	for steps := 0; len(w.todo) > 0; {
		if steps++; steps > maxSteps {
			return nil, fmt.Errorf("%w: more than %d steps to %q", ErrMalformed, maxSteps, abbreviate(joinName(name)))
		}
		step := w.todo[0]
		w.todo = w.todo[1:]
		if step == ".." {
			w.stack = w.stack[:max(1, len(w.stack)-1)]
			continue
		}
		next := w.here().children[step]
		if next != nil && next.ino.kind == tar.TypeSymlink {
			if w.follow(next.ino.target); w.links > maxSymlinks {
				return nil, fmt.Errorf("%w: too many symbolic links in %q", ErrMalformed, abbreviate(joinName(name)))
			}
			continue
		}
		if next == nil || !next.isDir() {
			made, err := t.makeDir(w.here(), step, makeDirs)
			if made == nil || err != nil {
				return nil, err
			}
			next = made
		}
		w.stack = append(w.stack, next)
	}
	return w.here(), nil
}

// walker is on its way through the tree.
type walker struct {
	// stack is the directories from the root to where it is, todo the names to come.
	stack []*node
	todo  []string
	links int
}

func (w *walker) here() *node { return w.stack[len(w.stack)-1] }

func (w *walker) follow(target string) {
	w.links++
	w.todo = append(splitTarget(target), w.todo...)
	if strings.HasPrefix(target, "/") {
		w.stack = w.stack[:1]
	}
}

// makeDir makes a directory that a layer uses without describing it. It replaces what is not a directory in a lower layer, as a
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
