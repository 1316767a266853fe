// Package flatten turns the layers of one image into one read-only ext4 file system.
//
// It takes two passes. The first reads every layer once, lowest first, into one tree in memory: names are nodes, files are
// inodes, and a hard link is a second node with the same inode. File contents go to a spool file meanwhile. The second pass
// walks the finished tree and feeds one tar stream to the ext4 writer: parents before children, and the first surviving name
// of an inode as the file, every later one as a hard link. A stream of stacked layers cannot be converted directly, since
// what an upper layer hides or replaces has been written by then, and a hard link may outlive the name that it was made to.
//
// Invariants:
//   - Nothing is ever extracted: a name in a layer is only ever a key in the tree, so it can reach no file of the host.
//   - A whiteout hides what lower layers brought and nothing of its own layer, wherever in the layer it stands
//     (OCI image specification, layer.md, "Whiteouts").
//   - The same layers give the same bytes.
//   - Memory grows with the number of names and their lengths, which Limits bounds; contents are never held.
//   - The time for one entry does not grow with the others.
//
// An example:
//
//	f := flatten.New(spool, flatten.Limits{})
//	for _, layer := range layers {
//		if err := f.AddLayer(ctx, layer.digest, layer); err != nil {
//			return err
//		}
//	}
//	return f.WriteExt4(ctx, disk)
package flatten
