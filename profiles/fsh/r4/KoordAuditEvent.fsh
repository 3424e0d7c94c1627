Profile: KoordAuditEvent
Parent: AuditEvent
Id: koord-audit-event
Title: "An entry of the audit log"
Description: "Who did what with whose data, when and where (HSLF-FS 2016:40 4 kap. 9 §). The patient is a keyed hash; a refusal tells nothing of what it kept back."
* obeys koord-audit-refusal
* obeys koord-audit-number
* subtype 1..*
* subtype ^slicing.discriminator.type = #value
* subtype ^slicing.discriminator.path = "system"
* subtype ^slicing.rules = #open
* subtype contains event 1..1
* subtype[event] from https://koord.example/fhir/ValueSet/audit-event (required)
* subtype[event].system = $audit-event
* subtype[event].code 1..1
* action 1..1
* outcome 1..1
* agent.type 1..1
* agent.who 1..1
* source.site 1..1
* entity.name 0..0
* entity.name ^short = "Never: the log names nobody"
* entity.query 0..0
* entity.query ^short = "Never: a search holds an identity number"
