package fileset_test

import "testing"

// onASet begins the names of tests whose fixtures are sets of numbered files.
const onASet = "TestOnASet/"

// What is tried with one file holds for a set of files too: the same tests, with
// the damage in the file that is appended to. What concerns several files has
// tests of its own, TestRotate… and those of the lessons 30 to 42.
func TestOnASet(t *testing.T) {
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{
		{"Lesson01TornTail", TestLesson01TornTail},
		{"Lesson02LastNewlineMissing", TestLesson02LastNewlineMissing},
		{"Lesson03InvalidUTF8", TestLesson03InvalidUTF8},
		{"Lesson04LoneSurrogate", TestLesson04LoneSurrogate},
		{"Lesson05Verbatim", TestLesson05Verbatim},
		{"Lesson06OddLines", TestLesson06OddLines},
		{"Lesson07DuplicateKeys", TestLesson07DuplicateKeys},
		{"Lesson08Nesting", TestLesson08Nesting},
		{"Lesson09BlankLinesAndBOM", TestLesson09BlankLinesAndBOM},
		{"Lesson10BareCR", TestLesson10BareCR},
		{"Lesson11NULTail", TestLesson11NULTail},
		{"Lesson12CompactCountsDamage", TestLesson12CompactCountsDamage},
		{"Lesson13OwnerAndMode", TestLesson13OwnerAndMode},
		{"Lesson14Symlink", TestLesson14Symlink},
		{"Lesson15TemporaryNames", TestLesson15TemporaryNames},
		{"Lesson16OtherFileSystem", TestLesson16OtherFileSystem},
		{"Lesson17TwoQuarantines", TestLesson17TwoQuarantines},
		{"Lesson18AlwaysAFile", TestLesson18AlwaysAFile},
		{"Lesson19Synced", TestLesson19Synced},
		{"Lesson20BoundedMemory", TestLesson20BoundedMemory},
		{"Lesson21AppendDuringCompact", TestLesson21AppendDuringCompact},
		{"Lesson22ScanGoesOn", TestLesson22ScanGoesOn},
		{"Lesson23Leftovers", TestLesson23Leftovers},
		{"Lesson24TimestampString", TestLesson24TimestampString},
		{"Lesson25MissingAndFutureTimestamp", TestLesson25MissingAndFutureTimestamp},
		{"Lesson26ZeroIsNoLimit", TestLesson26ZeroIsNoLimit},
		{"Lesson27EachStream", TestLesson27EachStream},
		{"Lesson28StoredBytes", TestLesson28StoredBytes},
		{"Lesson29Once", TestLesson29Once},
		{"Lesson57MissingPath", TestLesson57MissingPath},
		{"Lesson63Evidence", TestLesson63Evidence},
		{"Lesson64FilterThenLimit", TestLesson64FilterThenLimit},
		{"Lesson65StandardLibrary", TestLesson65StandardLibrary},
		{"Lesson69LockOfItsOwn", TestLesson69LockOfItsOwn},

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
