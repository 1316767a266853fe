package flatten

import "strings"

// The marks of layer.md in the OCI image specification.
const (
	whiteoutPrefix = ".wh."
	opaqueMark     = ".wh..wh..opq"
	// auxPrefix begins the names that aufs keeps its own notes under; they are not part of the image.
	auxPrefix = ".wh..wh."
)

// whiteout hides what lower layers brought: the name base in dir, or all of dir where base is empty. Its strings are copies:
// it outlives its header, which may be large.
type whiteout struct{ dir, base string }

// parseWhiteout reports whether name is a mark and no file. A mark that hides nothing has a nil whiteout.
func parseWhiteout(name []string) (*whiteout, bool) {
	for i, part := range name {
		if !strings.HasPrefix(part, whiteoutPrefix) {
			continue
		}
		switch last := i == len(name)-1; {
		case last && part == opaqueMark:
			return &whiteout{dir: strings.Clone(joinName(name[:i]))}, true
		case strings.HasPrefix(part, auxPrefix) || !last || part == whiteoutPrefix:
			return nil, true
		default:
			return &whiteout{dir: strings.Clone(joinName(name[:i])), base: strings.Clone(part[len(whiteoutPrefix):])}, true
		}
	}
	return nil, false
}

// hide applies w, after all other entries of the current layer.
func (t *tree) hide(w whiteout) {
	dir, err := t.walk(splitTarget(w.dir), false)
	if err != nil || dir == nil {
		return // there is nothing to hide
	}
	if w.base == "" {
		t.prune(dir)
		return
	}
	if n := dir.children[w.base]; n != nil && !t.survives(n) {
		delete(dir.children, w.base)
	}
}

// prune removes all below dir that the current layer did not bring. Once a layer is enough, whatever names lead to dir.
func (t *tree) prune(dir *node) {
	if dir.pruned == t.layer {
		return
	}
	dir.pruned = t.layer
	for base, n := range dir.children {
		if !t.survives(n) {
			delete(dir.children, base)
		}
	}
}

// survives reports whether n is left when a whiteout hides it, and prunes what is below it.
func (t *tree) survives(n *node) bool {
	if n.isDir() {
		t.prune(n)
	}
	if n.layer == t.layer {
		return true
	}
	if len(n.children) == 0 {
		return false
	}
	// The layer put something below a directory that it hides and does not describe.
	n.ino, n.layer = impliedDir(), t.layer
	return true
}
