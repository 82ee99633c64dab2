package papyra

import "github.com/papyra/papyra/internal/checksum"

// This file is the only place that spells the members of a record's line. The
// Encoder writes them in this order, without spaces:
//
//	event        kind system_id actor_address event_type payload [sender] timestamp   seal
//	dead_letter  kind system_id target message_type payload [sender] timestamp        seal
//	report       kind system_id report payload timestamp                     seal
//	audit        kind system_id timestamp total_actors … dead_letters_count  seal
//
// The seal is node, run, seq and crc. A line of another sender may have the
// members in any order, and others beside them.

// Names of members.
const (
	nameKind         = "kind"
	nameSystem       = "system_id"
	nameActor        = "actor_address"
	nameEventType    = "event_type"
	namePayload      = "payload"
	nameTimestamp    = "timestamp"
	nameTarget       = "target"
	nameMessageType  = "message_type"
	nameSender       = "sender"
	nameReport       = "report"
	nameTotal        = "total_actors"
	nameAlive        = "alive_actors"
	nameStopping     = "stopping_actors"
	nameRestarting   = "restarting_actors"
	nameRegistrySize = "registry_size"
	nameOrphans      = "registry_orphans"
	nameDead         = "registry_dead"
	nameDeadLetters  = "dead_letters_count"
	nameNode         = "node"
	nameRun          = "run"
	nameSeq          = "seq"
	nameCRC          = checksum.Name
)

// What the Encoder writes before each value. The quotes of values that never
// hold an escape are part of it.
const (
	beforeKind         = `{"` + nameKind + `":"`
	beforeSystem       = `","` + nameSystem + `":`
	beforeActor        = `,"` + nameActor + `":`
	beforeEventType    = `,"` + nameEventType + `":`
	beforePayload      = `,"` + namePayload + `":`
	beforeTimestamp    = `,"` + nameTimestamp + `":`
	beforeTarget       = `,"` + nameTarget + `":`
	beforeMessageType  = `,"` + nameMessageType + `":`
	beforeSender       = `,"` + nameSender + `":`
	beforeReport       = `,"` + nameReport + `":`
	beforeTotal        = `,"` + nameTotal + `":`
	beforeAlive        = `,"` + nameAlive + `":`
	beforeStopping     = `,"` + nameStopping + `":`
	beforeRestarting   = `,"` + nameRestarting + `":`
	beforeRegistrySize = `,"` + nameRegistrySize + `":`
	beforeOrphans      = `,"` + nameOrphans + `":`
	beforeDead         = `,"` + nameDead + `":`
	beforeDeadLetters  = `,"` + nameDeadLetters + `":`
	beforeNode         = `,"` + nameNode + `":"`
	beforeRun          = `","` + nameRun + `":"`
	beforeSeq          = `","` + nameSeq + `":`
	// What follows seq is the checksum's tail.
)

// How an address without a name is written.
const (
	nameAddressSystem   = "system"
	nameAddressID       = "actor_id"
	nameHeldAddress     = "_address"
	beforeAddressSystem = `{"` + nameAddressSystem + `":`
	beforeAddressID     = `,"` + nameAddressID + `":`
)

// spelling is how the members of a seal are written.
type spelling struct{ node, run, seq, crc string }

var (
	// sealed is the spelling of a seal.
	sealed = spelling{beforeNode, beforeRun, beforeSeq, checksum.TailStart}
	// rewritten is what a rewrite by the Python implementation makes of it.
	rewritten = spelling{`, "` + nameNode + `": "`, `", "` + nameRun + `": "`, `", "` + nameSeq + `": `, `, "` + nameCRC + `": "`}
)

// member is one of the names that mean something at the top level of a line.
type member uint8

const (
	memberOther member = iota // any other name
	memberKind
	memberSystem
	memberActor
	memberEventType
	memberPayload
	memberTimestamp
	memberTarget
	memberMessageType
	memberReport
	memberTotal
	memberAlive
	memberStopping
	memberRestarting
	memberRegistrySize
	memberOrphans
	memberDead
	memberDeadLetters
	memberNode
	memberRun
	memberSeq
	memberCRC
	memberCount
)

// sealMembers is the set of the names that are reserved for the seal.
const sealMembers = 1<<memberNode | 1<<memberRun | 1<<memberSeq | 1<<memberCRC

var memberNames = [memberCount]string{
	"", nameKind, nameSystem, nameActor, nameEventType, namePayload, nameTimestamp,
	nameTarget, nameMessageType, nameReport,
	nameTotal, nameAlive, nameStopping, nameRestarting,
	nameRegistrySize, nameOrphans, nameDead, nameDeadLetters,
	nameNode, nameRun, nameSeq, nameCRC,
}

func memberOf(name []byte) member {
	switch string(name) {
	case nameKind:
		return memberKind
	case nameSystem:
		return memberSystem
	case nameActor:
		return memberActor
	case nameEventType:
		return memberEventType
	case namePayload:
		return memberPayload
	case nameTimestamp:
		return memberTimestamp
	case nameTarget:
		return memberTarget
	case nameMessageType:
		return memberMessageType
	case nameReport:
		return memberReport
	case nameTotal:
		return memberTotal
	case nameAlive:
		return memberAlive
	case nameStopping:
		return memberStopping
	case nameRestarting:
		return memberRestarting
	case nameRegistrySize:
		return memberRegistrySize
	case nameOrphans:
		return memberOrphans
	case nameDead:
		return memberDead
	case nameDeadLetters:
		return memberDeadLetters
	case nameNode:
		return memberNode
	case nameRun:
		return memberRun
	case nameSeq:
		return memberSeq
	case nameCRC:
		return memberCRC
	}
	return memberOther
}

// kindLayout is what the lines of one kind have beside the members of all kinds.
type kindLayout struct {
	afterSystem string       // what the Encoder writes next, if it is always the same
	timeFirst   bool         // the timestamp stands before the members, not behind them
	members     []memberRule // in the order of the line; a line must have them all
	typ         member       // of Record.Type; memberOther where there is none
	actor       member       // of Record.Actor; memberOther where there is none
}

// memberRule says what the value of a member must be.
type memberRule struct {
	member member
	value  valueType
}

var layouts = [KindCount]kindLayout{
	KindEvent: {
		afterSystem: beforeActor, typ: memberEventType, actor: memberActor,
		members: []memberRule{{memberActor, actorValue}, {memberEventType, stringValue}, {memberPayload, anyValue}},
	},
	KindDeadLetter: {
		afterSystem: beforeTarget, typ: memberMessageType, actor: memberTarget,
		members: []memberRule{{memberTarget, actorValue}, {memberMessageType, stringValue}, {memberPayload, anyValue}},
	},
	KindReport: {
		afterSystem: beforeReport, typ: memberReport,
		members: []memberRule{{memberReport, stringValue}, {memberPayload, anyValue}},
	},
	KindAudit: {
		timeFirst: true,
		members: []memberRule{
			{memberTotal, numberValue}, {memberAlive, numberValue}, {memberStopping, numberValue}, {memberRestarting, numberValue},
			{memberRegistrySize, numberValue}, {memberOrphans, arrayValue}, {memberDead, arrayValue}, {memberDeadLetters, numberValue},
		},
	},
}

// valueTypeOf returns what the value of a member must be in a line of a kind.
func valueTypeOf(kind Kind, m member) valueType {
	switch m {
	case memberKind, memberSystem, memberNode, memberRun, memberCRC:
		return stringValue
	}
	for _, rule := range layouts[kind].members {
		if rule.member == m {
			return rule.value
		}
	}
	return anyValue
}

// valueType is what a member's value must be. The first byte of the value tells.
type valueType uint8

const (
	anyValue    valueType = iota
	stringValue           // a record holds its text, without quotes and escapes
	numberValue
	arrayValue
	actorValue // an object, a string or null
)

// valueNames say for people what a value must be.
var valueNames = [...]string{
	anyValue:    "a value",
	stringValue: "a string",
	numberValue: "a number",
	arrayValue:  "an array",
	actorValue:  "an object, a string or null",
}

// allows reports whether a value of this type may begin with c.
func (t valueType) allows(c byte) bool {
	switch t {
	case stringValue:
		return c == '"'
	case numberValue:
		return c == '-' || c-'0' <= 9
	case arrayValue:
		return c == '['
	case actorValue:
		return c == '{' || c == '"' || c == 'n'
	}
	return true
}
