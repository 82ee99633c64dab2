package faultfs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or directory that is passed through. What it does not define
// is that of the directory behind, without faults.
type node struct {
	fs.LoopbackNode
	fs *FS
}

func newNode(r *fs.LoopbackRoot, f *FS) *node {
	return &node{LoopbackNode: fs.LoopbackNode{RootData: r}, fs: f}
}

// handle is an open file. It is not the one that go-fuse has, which the kernel
// may read and write without asking us.
type handle struct{ file *fs.LoopbackFile }

func newHandle(h fs.FileHandle) fs.FileHandle {
	if f, ok := h.(*fs.LoopbackFile); ok {
		return &handle{f}
	}
	return h
}

var (
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.FileReleaser  = (*handle)(nil)
	_ fs.FileFlusher   = (*handle)(nil)
)

func (h *handle) Release(ctx context.Context) syscall.Errno { return h.file.Release(ctx) }

func (h *handle) Flush(ctx context.Context) syscall.Errno { return h.file.Flush(ctx) }

// name is the last element of the node's path.
func (n *node) name() string {
	name, _ := n.Parent()
	return name
}

func (n *node) ino() uint64 { return n.StableAttr().Ino }

// directory is an open directory.
type directory struct {
	fs.FileHandle
	n *node
}

var (
	_ fs.NodeOpendirHandler = (*node)(nil)
	_ fs.FileReaddirenter   = (*directory)(nil)
	_ fs.FileReleasedirer   = (*directory)(nil)
	_ fs.FileFsyncdirer     = (*directory)(nil)
)

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, out, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &directory{h, n}, out, 0
}

func (d *directory) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	return d.FileHandle.(fs.FileReaddirenter).Readdirent(ctx)
}

func (d *directory) Releasedir(ctx context.Context, flags uint32) {
	d.FileHandle.(fs.FileReleasedirer).Releasedir(ctx, flags)
}

func (d *directory) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	if _, errno := d.n.fs.meet(ctx, SyncDir, d.n.name()); errno != 0 {
		return errno
	}
	return d.FileHandle.(fs.FileFsyncdirer).Fsyncdir(ctx, flags)
}

// inner is the open file behind a handle, or nil.
func inner(h fs.FileHandle) *fs.LoopbackFile {
	if h, ok := h.(*handle); ok {
		return h.file
	}
	return nil
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if _, errno := n.fs.meet(ctx, Open, n.name()); errno != 0 {
		return nil, 0, errno
	}
	h, _, errno := n.LoopbackNode.Open(ctx, flags)
	return newHandle(h), fuse.FOPEN_DIRECT_IO, errno
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if _, errno := n.fs.meet(ctx, Create, name); errno != 0 {
		return nil, nil, 0, errno
	}
	inode, h, _, errno := n.LoopbackNode.Create(ctx, name, flags, mode, out)
	return inode, newHandle(h), fuse.FOPEN_DIRECT_IO, errno
}

func (n *node) Read(ctx context.Context, h fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if _, errno := n.fs.meet(ctx, Read, n.name()); errno != 0 {
		return nil, errno
	}
	return inner(h).Read(ctx, dest, off)
}

func (n *node) Write(ctx context.Context, h fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	part, errno := n.fs.meet(ctx, Write, n.name())
	if errno != 0 {
		return 0, errno
	}
	if part >= 0 {
		data = data[:min(part, len(data))]
	}
	written, errno := inner(h).Write(ctx, data, off)
	if written > 0 {
		n.fs.wrote(n.ino(), span{off, off + int64(written)})
	}
	return written, errno
}

func (n *node) Fsync(ctx context.Context, h fs.FileHandle, flags uint32) syscall.Errno {
	f := inner(h)
	if f == nil {
		return syscall.EBADF
	}
	if _, errno := n.fs.meet(ctx, Sync, n.name()); errno != 0 {
		n.lose(ctx, f)
		return errno
	}
	n.fs.clean(n.ino())
	return f.Fsync(ctx, flags)
}

// lose drops what was not synced.
func (n *node) lose(ctx context.Context, f *fs.LoopbackFile) {
	for _, s := range n.fs.clean(n.ino()) {
		_, _ = f.Write(ctx, make([]byte, s.to-s.from), s.from)
	}
}

func (n *node) Getattr(ctx context.Context, h fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if f := inner(h); f != nil {
		return f.Getattr(ctx, out)
	}
	return n.LoopbackNode.Getattr(ctx, nil, out)
}

func (n *node) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	size, truncates := in.GetSize()
	if truncates {
		if _, errno := n.fs.meet(ctx, Truncate, n.name()); errno != 0 {
			return errno
		}
	}
	var errno syscall.Errno
	if f := inner(h); f != nil {
		errno = f.Setattr(ctx, in, out)
	} else {
		errno = n.LoopbackNode.Setattr(ctx, nil, in, out)
	}
	if truncates && errno == 0 {
		n.fs.cut(n.ino(), int64(size))
	}
	return errno
}

func (n *node) Rename(ctx context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if _, errno := n.fs.meet(ctx, Rename, name); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rename(ctx, name, to, newName, flags)
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if _, errno := n.fs.meet(ctx, Unlink, name); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if _, errno := n.fs.meet(ctx, Mkdir, name); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}
