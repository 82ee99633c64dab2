package fileset_test

import "testing"

// onASet begins the names of tests whose fixtures are sets of numbered files.
const onASet = "TestOnASet/"

// What is tried with one file holds for a set of files too: the same tests, with
// the damage in the file that is appended to. What concerns several files has
// tests of its own, in the files rotate_….
func TestOnASet(t *testing.T) {
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{
		{"TornTail", TestTornTail},
		{"LastNewlineMissing", TestLastNewlineMissing},
		{"BlankLinesAndBOM", TestBlankLinesAndBOM},
		{"BareCR", TestBareCR},
		{"NULTail", TestNULTail},
		{"OwnerAndMode", TestOwnerAndMode},
		{"SymlinkIsRefused", TestSymlinkIsRefused},
		{"TemporaryNames", TestTemporaryNames},
		{"OtherFileSystem", TestOtherFileSystem},
		{"TwoQuarantines", TestTwoQuarantines},
		{"AlwaysAFile", TestAlwaysAFile},
		{"SyncsAroundTheSwap", TestSyncsAroundTheSwap},
		{"BoundedMemory", TestBoundedMemory},
		{"AppendDuringCompact", TestAppendDuringCompact},
		{"MissingPath", TestMissingPath},
		{"Evidence", TestEvidence},
		{"LockOfItsOwn", TestLockOfItsOwn},

		{"CutAtEveryByte", TestCutAtEveryByte},
		{"FlippedBits", TestFlippedBits},
		{"Damage", TestDamage},
		{"FailedWriteIsCutOff", TestFailedWriteIsCutOff},
		{"FailedWriteThatStays", TestFailedWriteThatStays},
		{"FailedSyncWritesAgain", TestFailedSyncWritesAgain},
		{"FileChangedFromOutside", TestFileChangedFromOutside},
		{"ForeignWriter", TestForeignWriter},
		{"FileSizeLimit", TestFileSizeLimit},
		{"NoFileDescriptors", TestNoFileDescriptors},
		{"RootReadOnly", TestRootReadOnly},
		{"RootNoInodes", TestRootNoInodes},
		{"ActsOnAFullDisk", TestActsOnAFullDisk},
		{"UnreadablePart", TestUnreadablePart},
		{"PlacesThatAreNoFiles", TestPlacesThatAreNoFiles},
		{"LeftoverThatIsASymlink", TestLeftoverThatIsASymlink},
		{"ModesWhateverTheUmask", TestModesWhateverTheUmask},
		{"SecondProcessIsRefused", TestSecondProcessIsRefused},
		{"InProgress", TestInProgress},
		{"LineOfHundredMegabytes", TestLineOfHundredMegabytes},
		{"RootPowerCutCompact", TestRootPowerCutCompact},
		{"RootPowerCutRecover", TestRootPowerCutRecover},
		{"StraceKillRecover", TestStraceKillRecover},
	} {
		t.Run(c.name, c.test)
	}
}
