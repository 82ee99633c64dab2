package disk_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/papyra/papyra/internal/fileset/disk"
)

// fullDisk is a disk on which no write succeeds.
type fullDisk struct{ disk.OS }

func (fullDisk) Write(*os.File, []byte) (int, error) { return 0, errors.New("no space left") }

// A test breaks a call by embedding the real disk.
func ExampleDisk() {
	dir, err := os.MkdirTemp("", "disk")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	f, err := disk.MakeFile(fullDisk{}, filepath.Join(dir, "f"), os.O_RDWR, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	_, err = disk.Writer{Disk: fullDisk{}, File: f}.Write([]byte("record\n"))
	fmt.Println(err)

	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("somebody said stop"))
	_, err = disk.Interruptible(ctx, disk.OS{}).ReadAt(f, make([]byte, 1), 0)
	fmt.Println(err)
	// Output:
	// no space left
	// somebody said stop
}
