package faultdisk

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// PowerDisk is an ext4 file system on an image whose power can be cut.
type PowerDisk struct {
	Dir string // where it is mounted

	t     testing.TB
	image string
}

// NewPowerDisk makes a disk of so many bytes and mounts it on a directory until
// the test ends. Where that cannot be done the test is skipped.
func NewPowerDisk(t testing.TB, size int64, dir string) *PowerDisk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts an ext4 image")
	}
	p := &PowerDisk{Dir: dir, t: t, image: filepath.Join(t.TempDir(), "image")}
	err := os.WriteFile(p.image, nil, 0o600)
	if err == nil {
		err = os.Truncate(p.image, size)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", p.image).CombinedOutput(); err != nil {
		t.Skipf("needs mkfs.ext4: %v %s", err, out)
	}
	if out, err := p.mount(); err != nil {
		t.Skipf("needs to mount a loop device: %v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", p.Dir).Run() })
	return p
}

func (p *PowerDisk) mount() ([]byte, error) {
	return exec.Command("mount", "-o", "loop", p.image, p.Dir).CombinedOutput()
}

// Cut drops everything that was not synced. Until Restore every call fails.
func (p *PowerDisk) Cut() {
	dir, err := os.Open(p.Dir)
	if err != nil {
		return
	}
	defer dir.Close()
	const (
		shutdown   = 0x8004587d
		noLogFlush = 2
	)
	if err := unix.IoctlSetPointerInt(int(dir.Fd()), shutdown, noLogFlush); err != nil {
		p.t.Errorf("cut the power: %v", err)
	}
}

// Restore mounts the disk again after Cut. Nothing may be open on it.
func (p *PowerDisk) Restore() {
	p.t.Helper()
	if out, err := exec.Command("umount", p.Dir).CombinedOutput(); err != nil {
		p.t.Fatalf("umount: %v %s", err, out)
	}
	if out, err := p.mount(); err != nil {
		p.t.Fatalf("mount: %v %s", err, out)
	}
}
