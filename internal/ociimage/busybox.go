package ociimage

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Path is the PATH that Busybox's files need.
const Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Busybox returns what an image needs for a shell: the statically linked busybox at source with a link for each of its
// commands, users and groups, and a /tmp for everyone.
func Busybox(ctx context.Context, source string) ([]File, error) {
	out, err := exec.CommandContext(ctx, source, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("list the commands of %s: %w", source, err)
	}
	files := []File{
		{Name: "/bin/busybox", Source: source, Mode: 0o755},
		{Name: "/etc/passwd", Content: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n")},
		{Name: "/etc/group", Content: []byte("root:x:0:\nnogroup:x:65534:\n")},
		{Name: "/root/", Mode: 0o700},
		{Name: "/tmp/", Mode: 0o1777},
	}
	for applet := range strings.FieldsSeq(string(out)) {
		if applet != "busybox" {
			files = append(files, File{Name: "/bin/" + applet, Link: "busybox"})
		}
	}
	return files, nil
}

// Hello returns the image of the examples: server, which listens on port 8080, over busybox. By the name fetch the server
// is a client. It takes the place of busybox's wget, which can crash without the files of the C library's resolver.
func Hello(ctx context.Context, server, busybox string) (Spec, error) {
	files, err := Busybox(ctx, busybox)
	if err != nil {
		return Spec{}, err
	}
	files = slices.DeleteFunc(files, func(f File) bool { return f.Name == "/bin/wget" })
	spec := Spec{Layers: [][]File{files, {
		{Name: "/bin/hello", Source: server, Mode: 0o755},
		{Name: "/bin/fetch", Link: "hello"},
	}}}
	spec.Config.Entrypoint = []string{"/bin/hello"}
	spec.Config.Env = []string{"PATH=" + Path}
	spec.Config.ExposedPorts = map[string]struct{}{"8080/tcp": {}}
	return spec, nil
}
